"""Weights files that are not here and that the lock pins: what was made of them can be found without them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from modelbuild import lfs
from modelbuild.engine.graph import Source
from modelbuild.observed import Observed
from modelbuild.project.lock import Digests


class Away:
    """The safetensors files that the lock pins, by their paths; each may be there or not."""

    def __init__(self, observed: Observed, pinned: Mapping[str, Digests]) -> None:
        self._observed = observed
        self._pinned = pinned

    def names(self, folder: str) -> set[str]:
        """The names of those that belong into a folder."""
        found = (os.path.split(path) for path in self._pinned)
        return {name for above, name in found if above == folder and name.endswith(".safetensors")}

    def source(self, path: str) -> Source:
        """A safetensors file as a source: with its digest if it is not there, or only a pointer to it."""
        pinned = self._pinned.get(path)
        is_away = pinned is not None and (self._observed.kind(path) is None or self._pointed(path) == pinned.sha256)
        return Source(path, "safetensors", pinned.xxh3 if pinned is not None and is_away else "")

    def _pointed(self, path: str) -> str | None:
        self._observed.stat(path)
        return lfs.pointed(path)
