"""What stands in a models folder: every model, and everything among them that is wrong."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from modelbuild.digest import sha256
from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.ollama.go_json import parse_object
from modelbuild.ollama.library import SCRATCH, Library
from modelbuild.ollama.manifest import Manifest
from modelbuild.ollama.name import Name
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

DEPTH = 4
"""Folders of a name: Ollama looks at `manifests/*/*/*/*` and nowhere else."""


class Installed(NamedTuple):
    """A model as it is installed.

    digest     of its manifest; Ollama shows its first 12 digits as the ID
    size       bytes of everything that it names
    file_type  as its config says; None where that says nothing
    modified   when its manifest was written, in seconds since 1970
    missing    paths of blobs that it names and that are not there
    """

    name: Name
    digest: str
    size: int
    file_type: str | None
    modified: float
    missing: Sequence[str]


class Survey(NamedTuple):
    """The models of a folder in the order of their names, and what is wrong in it."""

    models: Sequence[Installed]
    faults: Sequence[Error]


def survey(library: Library) -> Survey:
    """Look at everything that `manifests` holds. Nothing is changed. Raises Error where a folder cannot be listed."""
    models: list[Installed] = []
    faults: list[Error] = []
    for path, relative in _entries(library.manifests):
        try:
            name = Name.from_path(relative)
        except Error:
            faults.append(_foreign(path))
            continue
        try:
            models.append(_installed(library, name, path))
        except (Error, OSError) as error:
            faults.append(_damaged(name, path, error))
    models.sort(key=lambda each: each.name)
    faults += [_incomplete(each) for each in models if each.missing]
    faults += _alike([each.name for each in models])
    faults += [fault for each in models if (fault := each.name.reserved()) is not None]
    return Survey(models, faults)


def _entries(manifests: str) -> Iterator[tuple[str, str]]:
    """Path, and path below `manifests`, of all that stands where Ollama looks for manifests. Folders there count for nothing."""
    folders = [(manifests, "")]
    for depth in range(DEPTH):
        below = []
        for folder, relative in folders:
            try:
                names = sorted(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise Error(f"cannot list the models folder: {reason(error)}", path=folder) from None
            below += [(os.path.join(folder, name), f"{relative}{name}") for name in names if name != SCRATCH]
        if depth == DEPTH - 1:
            yield from ((path, relative) for path, relative in below if not os.path.isdir(path))
        folders = [(path, f"{relative}/") for path, relative in below]


def _installed(library: Library, name: Name, path: str) -> Installed:
    data, info = read_plain(path, LARGEST)
    manifest = Manifest.parse(data)
    layers = (manifest.config, *manifest.layers)
    missing = [blob for layer in layers if not os.path.exists(blob := library.blob_path(layer.digest))]
    return Installed(
        name, sha256(data), sum(layer.size for layer in layers),
        _file_type(library.blob_path(manifest.config.digest)), info.st_mtime, list(dict.fromkeys(missing)),
    )  # fmt: skip


def _file_type(config: str) -> str | None:
    try:
        named = parse_object(read_plain(config, LARGEST)[0], "config", config).get("file_type")
    except (Error, OSError):
        return None
    return named if isinstance(named, str) and re.fullmatch(r"\w{1,40}", named) else None


def _foreign(path: str) -> Error:
    return Error(
        "this file among the manifests is not a model's",
        path=path,
        hint="remove it: Ollama does not clean up while it is there",
    )


def _damaged(name: Name, path: str, error: Error | OSError) -> Error:
    if os.path.islink(path) and not os.path.exists(path):
        return Error(
            f"the manifest of '{name.display()}' is a link that leads nowhere",
            path=path,
            hint="remove it: Ollama lists no model at all while it is there",
        )
    what = error.what if isinstance(error, Error) else reason(error)
    return Error(
        f"the manifest of '{name.display()}' cannot be read: {what}",
        path=path,
        hint=f"`modelbuild rm {name.display()}` removes it; then pull or build the model again",
    )


def _incomplete(model: Installed) -> Error:
    name, count = model.name.display(), len(model.missing)
    what = f"'{name}' lacks a blob" if count == 1 else f"'{name}' lacks {count} blobs"
    return Error(what, facts=[("missing", path) for path in model.missing[:3]], hint="pull or build it again")


def _alike(names: Sequence[Name]) -> Iterator[Error]:
    groups: defaultdict[Name, list[Name]] = defaultdict(list)
    for name in names:
        groups[name.folded()].append(name)
    for group in groups.values():
        if len(group) > 1:
            shown = listed(f"'{name.display()}'" for name in group)
            yield Error(
                f"{shown} differ only in case: to Ollama they are one model",
                hint="`modelbuild cp` gives one of them another name, `modelbuild rm` removes the old one",
            )
