"""A models folder as it is read: where a name's manifest and a blob lie, and which blobs the manifests name."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from modelbuild.digest import file_name, sha256
from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason, signature
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.ollama.manifest import Layer, Manifest
    from modelbuild.ollama.name import Name

SCRATCH = ".modelbuild"
"""Folders of temporary files and of the lock, in a models folder and, where one spans file systems, in the folders below it."""


BLOBS, MANIFESTS = "blobs", "manifests"
"""Folders of a models folder."""


class Served(NamedTuple):
    """A manifest as it lies in a models folder, and its digest."""

    digest: str
    manifest: Manifest

    @property
    def size(self) -> int:
        """Bytes of everything that it names, as `ollama list` counts."""
        return sum(layer.size for layer in self.layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All that it names, the config first."""
        return (self.manifest.config, *self.manifest.layers)

    @property
    def model_blob(self) -> str | None:
        """The digest of the first model layer."""
        from modelbuild.ollama.manifest import MODEL

        return next((layer.digest for layer in self.manifest.layers if layer.media_type == MODEL), None)


class Library:
    """A models folder as it is read: where things lie in it, and what stands there. Nothing is remembered."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.blobs = os.path.join(root, BLOBS)
        self.manifests = os.path.join(root, MANIFESTS)

    def blob_path(self, digest: str) -> str:
        """Where the blob of a digest (`sha256:<hex>`) lies."""
        return f"{self.blobs}{os.sep}{file_name(digest)}"

    def manifest_path(self, name: str) -> str:
        """Where the manifest of a name (`host/namespace/model/tag`) lies."""
        return os.path.join(self.manifests, *name.split("/"))

    def served(self, name: str) -> Served | None:
        """What a name (`host/namespace/model/tag`) stands for now; None where it stands for nothing that can be read."""
        from modelbuild.ollama.manifest import Manifest

        path = self.manifest_path(name)
        try:
            data, _ = read_plain(path, LARGEST)
            return Served(sha256(data), Manifest.parse(data, path))
        except (OSError, Error):
            return None

    def is_whole(self, served: Served) -> bool:
        """Whether every blob that a manifest names is there."""
        return all(os.path.exists(self.blob_path(layer.digest)) for layer in served.layers)

    def size(self, digest: str) -> int | None:
        """Bytes of a blob; None where there is none."""
        try:
            return os.stat(self.blob_path(digest)).st_size
        except OSError:
            return None

    def names(self) -> list[Name]:
        """The names that stand here, in order. What is no manifest's path is passed over. Raises Error."""
        from modelbuild.ollama.name import Name

        found = []
        folders = [("", self.manifests)]
        for _ in range(4):
            entries = [(f"{above}{entry.name}", entry) for above, folder in folders for entry in _entries(folder)]
            folders = [(f"{relative}/", entry.path) for relative, entry in entries if entry.is_dir()]
        for relative, entry in entries:
            if entry.is_file():
                with contextlib.suppress(Error):
                    found.append(Name.from_path(relative))
        return sorted(found)

    def alike(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The names (`host/namespace/model/tag`) to which some that stand here differ only in case -> those. Raises Error."""
        listings: dict[str, dict[str, list[str]]] = {}

        def below(path: str, part: str) -> list[str]:
            if path not in listings:
                listings[path] = {}
                for entry in _entries(os.path.join(self.manifests, *path.split("/"))):
                    listings[path].setdefault(entry.name.lower(), []).append(f"{path}/{entry.name}".lstrip("/"))
            return listings[path].get(part.lower(), [])

        found = {}
        for name in names:
            paths = [""]
            for part in name.split("/"):
                paths = [each for path in paths for each in below(path, part)]
            if others := sorted(path for path in paths if path != name):
                found[name] = others
        return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            return list(scan)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Error(f"cannot list the models folder: {reason(error)}", path=folder) from None


def is_blob(path: str) -> bool:
    """Whether a file is a blob of a models folder: somebody's server loads it."""
    folder, name = os.path.split(path)
    return os.path.basename(folder) == BLOBS and name.startswith("sha256-")


def named_blobs(manifest: bytes) -> set[str]:
    """Digests of the config and layers of a manifest, however it was written. Raises ValueError for what is none.

    To Go, upper and lower case of the names of members are one, and a member that comes twice is no fault: all of them count.
    """
    try:
        value = json.loads(manifest, object_pairs_hook=tuple)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, tuple):
        raise ValueError("not a manifest")
    named: list[Any] = []
    for key, member in value:
        if key.casefold() == "config":
            named.append(member)
        elif key.casefold() == "layers":
            if not isinstance(member or [], list):
                raise ValueError("not a manifest")
            named += member or []
    members = [pair for layer in named if isinstance(layer, tuple) for pair in layer]
    return {str(digest).replace("sha256-", "sha256:") for key, digest in members if key.casefold() == "digest"}


class Users:
    """Who uses which blob: the manifests of a models folder, walked again at each question and read again where they changed."""

    def __init__(self, manifests: str) -> None:
        self._manifests = manifests
        self._read: dict[str, tuple[str, set[str]]] = {}

    def used(self, without: Collection[str] = ()) -> set[str] | None:
        """The digests that some manifest names; None where one of them, or a folder, cannot be read: it may name anything.

        Links are followed, as Ollama follows them, and a link that leads nowhere counts as what cannot be read: the disk
        behind it may be back tomorrow.

        without  paths of manifests that count as gone
        """
        used: set[str] = set()
        seen: set[tuple[int, int]] = set()
        folders = [self._manifests]
        while folders:
            folder = folders.pop()
            try:
                info = os.stat(folder)
                if (info.st_dev, info.st_ino) in seen:
                    continue
                seen.add((info.st_dev, info.st_ino))
                with os.scandir(folder) as scan:
                    entries = [entry for entry in scan if entry.name != SCRATCH and entry.path not in without]
            except FileNotFoundError:
                if os.path.islink(folder):
                    return None
                continue
            except OSError:
                return None
            for entry in entries:
                found = self._of(entry, folders)
                if found is None:
                    return None
                used |= found
        return used

    def _of(self, entry: os.DirEntry[str], folders: list[str]) -> set[str] | None:
        """What one entry names; a folder is put with the `folders` to walk."""
        try:
            info = entry.stat()
            if stat.S_ISDIR(info.st_mode):
                folders.append(entry.path)
                return set()
            known = self._read.get(entry.path)
            if known is None or known[0] != signature(info):
                data, info = read_plain(entry.path, LARGEST)
                known = self._read[entry.path] = signature(info), named_blobs(data)
            return known[1]
        except FileNotFoundError:
            return None if entry.is_symlink() else set()
        except (OSError, ValueError):
            return None


def default_folder(env: str | None, home: str) -> str:
    """Where Ollama keeps its models: `$OLLAMA_MODELS` (spaces and quotes trimmed, as Ollama does), else in the home folder."""
    named = (env or "").strip(" \"'")
    return named or os.path.join(home, ".ollama", "models")
