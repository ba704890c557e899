"""Where the bytes of tensors lie: in weights of this build, in what a tool made, in what was made before; how weights are read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelbuild import lfs
from modelbuild.engine import unfinished
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.sources import Digester, FileDigest, Sources
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.tensors import formats
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Region


class Leaves:
    """Where the bytes of leaves lie now, by digest: in the weights files of this build, else in a file that a tool made.

    made  path -> the artifact that it is, of the files of tools that were led to
    """

    def __init__(self, sources: Sources, cache: LocalCache) -> None:
        self._sources = sources
        self._cache = cache
        self._regions: dict[str, Region] | None = None
        self._away: list[str] = []
        self.made: dict[str, str] = {}

    def region(self, digest: str) -> Region:
        if self._regions is None:
            self._regions = dict(self._all())
        found = self._regions.get(digest) or self._foreign(digest)
        if found is None and self._away:
            raise absent(self._cache, *self._away)
        if found is None:
            raise Error(
                f"no source contains the weights {digest} any more",
                hint="put the checkpoint back, or build with --force",
            )
        return found

    def _foreign(self, digest: str) -> Region | None:
        """Where a tensor lies that a tool made: it was noted by the digest of its bytes. Raises Damaged where the file is gone."""
        from modelbuild.tensors.evaluate import Region

        at = self._cache.tensors([digest]).get(digest)
        if at is None:
            return None
        path = self._cache.store.path(at.blob)
        if path is None:
            raise Damaged(at.blob)
        self.made[path] = at.blob
        return Region(path, at.offset, at.length, at.blob)

    def _all(self) -> Iterable[tuple[str, Region]]:
        from modelbuild.tensors.evaluate import Region
        from modelbuild.tensors.tensor import TensorTable

        for digest, path in self._sources.weights():
            if not lfs.is_here(path):
                self._away.append(path)
                continue
            detail = self._sources.detail(digest)
            if detail is not None:
                for tensor in TensorTable.decode(detail).tensors.values():
                    yield tensor.digest, Region(path, tensor.offset, tensor.length, tensor.name)


def absent(cache: LocalCache, path: str, *others: str) -> Error:
    """The error for weights that are not here, or only a pointer to them, and that a step needs: these, or one of several."""
    get = "fetch it with 'git lfs pull'" if os.path.lexists(path) else "get the file"
    return Error(
        "the weights are not here, and what is to be made of them is in no cache",
        path=path,
        facts=[*([("or", listed(others, 4))] if others else []), *cache.hindrances()],
        hint=f"{get}, or build once with it where the same remote cache is used",
    )


def at_hand(
    cache: LocalCache, keys: Iterable[str], blobs: dict[str, str], scratch: str | None
) -> dict[str, tuple[Region, str]]:
    """The tensors of the index whose blobs are there; `blobs` learns which artifact each path is."""
    from modelbuild.tensors.evaluate import Region

    ranges = cache.tensors(keys)
    paths: dict[str, str | None] = {}
    found = {}
    for key, at in ranges.items():
        if at.blob not in paths:
            paths[at.blob] = cache.store.path(at.blob) or unfinished.path(at.blob, scratch)
        path = paths[at.blob]
        if path is not None:
            blobs[path] = at.blob
            found[key] = (Region(path, at.offset, at.length, at.blob, passing=True), at.xxh3)
    return found


def digesters() -> dict[str, Digester]:
    """How the digests of weights files are taken: a format's module is imported when a file of it has to be read."""

    def digester(form: str) -> Digester:
        def digest(path: str) -> FileDigest:
            found = formats.get(form).survey(path)
            return FileDigest(found.digest, found.table.encode())

        return digest

    return {form: digester(form) for form in formats.WEIGHTS}
