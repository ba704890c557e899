"""Where the bytes of tensors lie: in weights of this build, in what a tool made, in what was made before; how weights are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from modelbuild import lfs
from modelbuild.engine import unfinished
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.engine.sources import Digester, FileDigest, Sources
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.tensors import formats

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Region


MOST_NAMED = 5
"""Weights files that an error names."""


class Leaves:
    """Where the bytes of leaves lie now, by digest: in the weights files of this build, else in a file that a tool made.

    needed  gives the sources that the leaves may lie in; None: any
    force   nothing is taken from a cache
    made    path -> the artifact that it is, of the files of tools that were led to
    """

    def __init__(
        self,
        sources: Sources,
        cache: LocalCache,
        needed: Callable[[], Collection[Source] | None] = lambda: None,
        *,
        force: bool = False,
    ) -> None:
        self._sources = sources
        self._cache = cache
        self._needed = needed
        self._force = force
        self._regions: dict[str, Region] | None = None
        self._away: dict[str, str] = {}
        self.made: dict[str, str] = {}

    def region(self, digest: str) -> Region:
        if self._regions is None:
            self._regions = dict(self._all())
        found = self._regions.get(digest) or self._foreign(digest)
        if found is None and (away := self._missing()):
            raise absent(self._cache, *away, force=self._force)
        if found is None:
            raise Error(
                f"no source contains the weights {digest} any more",
                hint="put the checkpoint back, or build with --force",
            )
        return found

    def _missing(self) -> list[str]:
        """The files that are not here, of those that the leaves may lie in."""
        needed = self._needed()
        if needed is None:
            return [*self._away.values()]
        weights = (source for source in needed if source.is_weights)
        return [source.path for source in weights if self._sources.digest(source) in self._away]

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
                self._away[digest] = path
                continue
            detail = self._sources.detail(digest)
            if detail is not None:
                for tensor in TensorTable.decode(detail).tensors.values():
                    yield tensor.digest, Region(path, tensor.offset, tensor.length, tensor.name)


def needed(graph: Graph | None, step: Step) -> Collection[Source] | None:
    """The sources of a step and of all that it needs; None where the build's graph is not known."""
    return graph.up_to([step.name]).sources() if graph is not None else None


def absent(cache: LocalCache | None, path: str, *others: str, force: bool = False) -> Error:
    """The error for weights that are not here, or only pointers to them, and that a step needs."""
    paths = sorted({path, *others})
    them = "it" if len(paths) == 1 else "them"
    is_pointed = any(map(lfs.pointed, paths))
    get = f"fetch {them} with 'git lfs pull'" if is_pointed else f"get the file{'s' if others else ''}"
    why = "--force takes nothing from a cache" if force else "what is to be made of them is in no cache"
    more = len(paths) - MOST_NAMED
    files = [*(("file", each) for each in paths[1:MOST_NAMED]), *([("and", f"{more} more")] if more > 0 else [])]
    return Error(
        f"the weights are not here, and {why}",
        path=paths[0],
        facts=[*files, *(cache.hindrances() if cache is not None else ())],
        hint=f"{get}, or build {'without --force' if force else f'once with {them} where the same remote cache is used'}",
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
