"""What the cache and a models folder take of the disk. Hard links are counted once."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from modelbuild.engine import garbage
from modelbuild.engine.store import Store
from modelbuild.ollama.library import Library
from modelbuild.ollama.name import Name
from modelbuild.session import collecting, interrupted
from modelbuild.session.artifact_kinds import KINDS, Kind, kind
from modelbuild.tuples import NamedTuple


class ModelUse(NamedTuple):
    """What an installed model takes: all bytes, and those of blobs that no other model names."""

    name: Name
    size: int
    own: int

    @property
    def shared(self) -> int:
        return self.size - self.own


class KindUse(NamedTuple):
    """The files of one kind in the cache.

    linked  bytes that are a models folder's as well
    """

    kind: Kind
    files: int
    size: int
    linked: int


class Usage(NamedTuple):
    """What was found.

    unused    bytes of blobs of the models folder that no manifest names
    database  bytes of the cache's database and notes
    free      bytes of the cache that nothing needs, once `collecting.retain` has forgotten what projects have no longer
    stopped   bytes of unfinished layers and downloads in the models folder
    spare     bytes of layers in the models folder that no model uses, kept for a later build; of the cache in `free`
    total     bytes of both folders
    """

    models: Sequence[ModelUse]
    blobs: int
    unused: int
    kinds: Sequence[KindUse]
    database: int
    free: int
    stopped: int
    spare: int
    total: int


def usage(store: Store, library: Library) -> Usage:
    """Look at everything; nothing is read but the first bytes of each file of the cache. Raises Error."""
    blobs = dict(_files(library.blobs))
    used = _models(library, {name: info.st_size for name, info in blobs.items()})
    named = {blob for each in used.values() for blob in each}
    count = Counter(blob for each in used.values() for blob in each)
    models = [
        ModelUse(name, sum(each.values()), sum(size for blob, size in each.items() if count[blob] == 1))
        for name, each in used.items()
    ]
    unused = sum(info.st_size for name, info in blobs.items() if name not in named and not name.startswith("."))
    contents = store.contents()
    held = garbage.held(store)
    database = [info for _, info in (*_files(store.root), *_files(store.notes.folder))]
    inodes = {(info.st_dev, info.st_ino): info.st_size for info in (*blobs.values(), *contents.values(), *database)}
    held += (unfinished := interrupted.in_cache(store))
    stopped = sum(each.size for each in interrupted.in_models(library))
    aside = sum(each.size for each in held if each.artifact is None)
    held += (spares := interrupted.spares(store, library))
    spare = sum(each.size for each in spares)
    needed = collecting.needed(store)
    return Usage(
        models,
        sum(info.st_size for info in blobs.values()),
        unused,
        list(_kinds(contents, [each for each in held if each.artifact is None])),
        sum(info.st_size for info in database),
        sum(
            each.size
            for each in held
            if each.artifact not in needed and not (each in unfinished and interrupted.is_in_use(each))
        ),
        stopped,
        spare,
        sum(inodes.values()) + aside + stopped + spare,
    )


def _models(library: Library, sizes: dict[str, int]) -> dict[Name, dict[str, int]]:
    """What each model that can be read names of what is there: file name of a blob -> its bytes."""
    found = {}
    for name in library.names():
        if (served := library.served(name.path())) is not None:
            named = {layer.digest.replace(":", "-", 1) for layer in served.layers}
            found[name] = {blob: sizes[blob] for blob in named if blob in sizes}
    return found


def _kinds(contents: dict[str, os.stat_result], aside: Sequence[garbage.Held]) -> Iterator[KindUse]:
    found: dict[Kind, list[tuple[int, bool]]] = {}
    for path, info in contents.items():
        found.setdefault(kind(path), []).append((info.st_size, info.st_nlink > 1))
    for each in aside:
        found.setdefault(kind(each.path), []).append((each.size, False))
    for named in KINDS:
        if files := found.get(named):
            linked = sum(size for size, is_linked in files if is_linked)
            yield KindUse(named, len(files), sum(size for size, _ in files), linked)


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """The regular files directly in a folder, by name; none where it cannot be listed."""
    with contextlib.suppress(OSError), os.scandir(folder) as scan:
        for entry in scan:
            with contextlib.suppress(OSError):
                if entry.is_file():
                    yield entry.name, entry.stat()
