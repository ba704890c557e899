"""What must hold of a models folder at any moment at which nobody writes to it, whatever happened before."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from modelbuild.digest import file_name, sha256
from modelbuild.engine.spare import FOLDER as SPARE

BLOB = re.compile(r"sha256-[0-9a-f]{64}")
SCRATCH = ".modelbuild"
LIBRARY = "manifests/registry.ollama.ai/library"


def layers(manifest: bytes) -> list[dict[str, Any]]:
    """The config and the layers of a manifest."""
    value = json.loads(manifest)
    return [value["config"], *value["layers"]]


def named(manifest: bytes) -> set[str]:
    """The file names of the blobs that a manifest names."""
    return {str(layer["digest"]).replace(":", "-") for layer in layers(manifest)}


def tree(models: Path) -> dict[str, bytes]:
    """Every file of a models folder, but for what lies in a `.modelbuild`."""
    found = {}
    for folder, folders, files in os.walk(models):
        folders[:] = [name for name in folders if name != SCRATCH]
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, models)] = file.read()
    return found


def scratch(models: Path) -> list[str]:
    """The folders `.modelbuild` of a models folder, and what lies in them, but for spare blobs that are whole."""
    found = []
    for folder, _, files in os.walk(models):
        place = os.path.relpath(folder, models)
        if SCRATCH in place.split(os.sep):
            names = [name for name in files if not _is_spare(Path(folder), name)]
            found += [os.path.join(place, name) for name in names]
            found += [place] if names or not any(each.is_file() for each in Path(folder).rglob("*")) else []
    return sorted(found)


def _is_spare(folder: Path, name: str) -> bool:
    """Whether a file is a blob that is kept for a revert."""
    if folder.name != SPARE or BLOB.fullmatch(name) is None:
        return False
    return name == file_name(sha256((folder / name).read_bytes()))


def examine(models: Path) -> list[str]:
    """What is wrong with a models folder: manifests that name missing or wrong blobs, files that nobody can mean."""
    wrong = []
    if not models.exists():
        return []
    for name in os.listdir(models):
        if name not in ("blobs", "manifests", SCRATCH):
            wrong.append(f"foreign in the models folder: {name}")
    sizes: dict[str, int] = {}
    bad: set[str] = set()
    manifests: dict[str, bytes] = {}
    for path, data in tree(models).items():
        head, _, name = path.partition("/")
        if head == "manifests":
            manifests[path] = data
        elif head == "blobs" and BLOB.fullmatch(name):
            sizes[name] = len(data)
            if name != "sha256-" + hashlib.sha256(data).hexdigest():
                bad.add(name)
                wrong.append(f"wrong bytes: {path}")
        elif head == "blobs":
            wrong.append(f"foreign in the models folder: {path}")
    for path, data in manifests.items():
        if path.count("/") != 4:
            wrong.append(f"foreign in the models folder: {path}")
        try:
            layered = [(str(layer["digest"]).replace(":", "-"), layer["size"]) for layer in layers(data)]
        except (ValueError, KeyError, TypeError) as error:
            wrong.append(f"not a manifest: {path}: {error!r}")
            continue
        for blob, size in layered:
            if blob not in sizes:
                wrong.append(f"missing blob: {path} names {blob}")
            elif sizes[blob] != size:
                wrong.append(f"wrong size: {path} names {blob}")
            elif blob in bad:
                wrong.append(f"wrong blob: {path} names {blob}")
    return wrong


class Theirs:
    """A model of somebody else in a models folder, put and removed as Ollama does; or blobs without one, with no name."""

    def __init__(self, models: Path, name: str, texts: Iterable[bytes]) -> None:
        self.models = models
        self.blobs = {"sha256-" + hashlib.sha256(text).hexdigest(): text for text in texts}
        self.manifest = models / LIBRARY / name / "latest" if name else None

    def put(self) -> None:
        """The blobs, then the manifest, each written beside its place and renamed."""
        for blob, text in self.blobs.items():
            path = self.models / "blobs" / blob
            if not path.exists():
                _write(path, text)
        if self.manifest:
            digests = [
                {"mediaType": "application/octet-stream", "digest": blob.replace("-", ":"), "size": len(text)}
                for blob, text in self.blobs.items()
            ]
            _write(
                self.manifest, json.dumps({"schemaVersion": 2, "config": digests[0], "layers": digests[1:]}).encode()
            )

    def remove(self) -> None:
        """The manifest, then each of its blobs that no other manifest names at that moment; no lock is taken."""
        if self.manifest:
            self.manifest.unlink(missing_ok=True)
        for blob in self.blobs:
            if blob not in _in_use(self.models):
                (self.models / "blobs" / blob).unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        blobs = [self.models / "blobs" / blob for blob in self.blobs]
        return [*blobs, self.manifest] if self.manifest else blobs


class Look(NamedTuple):
    """A file as it was seen."""

    inode: int
    mtime: int
    data: bytes


def look(paths: Iterable[Path]) -> dict[str, Look | None]:
    """Files as they are now, to be compared with how they are later; None for one that is not there."""
    seen: dict[str, Look | None] = {}
    for path in paths:
        try:
            info = path.stat()
            seen[str(path)] = Look(info.st_ino, info.st_mtime_ns, path.read_bytes())
        except FileNotFoundError:
            seen[str(path)] = None
    return seen


def prune(models: Path) -> None:
    """Remove the empty folders below `manifests/`, as Ollama does at its start and after each removal."""
    for folder, _, _ in os.walk(models / "manifests", topdown=False):
        if folder != str(models / "manifests"):
            try:
                os.rmdir(folder)
            except OSError:
                continue


def _in_use(models: Path) -> set[str]:
    found: set[str] = set()
    for path in (models / "manifests").glob("*/*/*/*"):
        try:
            found |= named(path.read_bytes())
        except (OSError, ValueError):
            continue
    return found


def _write(path: Path, data: bytes) -> None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}-theirs") if path.parent.name != "blobs" else path
        try:
            beside.write_bytes(data)
            os.replace(beside, path)
            return
        except FileNotFoundError:
            continue  # the folder was pruned in between
