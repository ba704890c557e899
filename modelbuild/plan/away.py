"""Weights files that are not here and that the lock pins: what was made of them can be found without them."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from modelbuild import lfs
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.observed import Kind, Listing, Observed
from modelbuild.project import lock
from modelbuild.project.lock import Pinned

if TYPE_CHECKING:
    from modelbuild.checkpoint.ggufs import Contents

T = TypeVar("T")

_COUNTED = re.compile(r"(.*)-\d{5,9}(-of-\d{5,9}\.\w+)")


class Away:
    """Looks at files and folders as if the weights files that the lock pins were there; `pinned` has them by their paths."""

    def __init__(self, observed: Observed, pinned: Mapping[str, Pinned]) -> None:
        self._observed = observed
        self._pinned = pinned

    @cached_property
    def _folders(self) -> Mapping[str, list[str]]:
        """The names of the pinned files of each folder that has some."""
        found: dict[str, list[str]] = {}
        for folder, name in map(os.path.split, self._pinned):
            found.setdefault(folder, []).append(name)
        return found

    @cached_property
    def _paths(self) -> list[str]:
        return sorted(self._pinned)

    def _is_around(self, folder: str) -> bool:
        """Whether a pinned file lies below a folder, however deep: a lock may name more folders than a list of them could hold."""
        below = folder + os.sep
        at = bisect_left(self._paths, below)
        return at < len(self._paths) and self._paths[at].startswith(below)

    def _absent_names(self, folder: str, here: Collection[str]) -> list[str]:
        return [name for name in self._folders.get(folder, ()) if name not in here]

    def kind(self, path: str) -> Kind | None:
        """What stands at a path, or would."""
        found = self._observed.kind(path)
        if found is None and path in self._pinned:
            return "file"
        return found or ("folder" if self._is_around(path) else None)

    def entries(self, folder: str) -> Listing:
        """What a folder holds; nothing where only pinned files would be in it. Raises OSError."""
        try:
            return self._observed.entries(folder)
        except FileNotFoundError:
            if self.kind(folder) == "folder":
                return ()
            raise

    def names(self, folder: str, here: Collection[str]) -> list[str]:
        """The files of a folder with those that are not there, given the names of those that are.

        Weights that are there may have replaced those that the lock pins: they count alone, but for other parts of the same save.
        """
        if not (absent := self._absent_names(folder, here)):
            return sorted(here)
        from modelbuild.checkpoint.shards import INDEX

        tables = {name for name in here if name.endswith(".safetensors")}
        wanted = [name for name in absent if name.endswith(".safetensors")]
        if INDEX not in here and tables:
            saves = {save for name in tables if (save := _save(name))}
            wanted = [name for name in wanted if _save(name) in saves]
        elif not tables and "config.json" not in here:
            wanted = []
        if not (tables or wanted) and not any(name.endswith(".gguf") for name in here):
            wanted = [name for name in absent if name.endswith(".gguf")]
        return sorted({*here, *wanted})

    def told(self, folder: str, here: Sequence[str], tell: Callable[[Sequence[str]], T]) -> T:
        """What the names of a folder's files tell: of those that are there, or if that is an Error, with those that are not."""
        try:
            return tell(here)
        except Error:
            if absent := self._absent_names(folder, here):
                with suppress(Error):
                    return tell(sorted([*here, *absent]))
            raise

    def source(self, path: str, form: str) -> Source:
        """A weights file as a source: with its digest if it is not there, or only a pointer to it."""
        pinned = self._absent(path)
        if pinned is None or form != _form(path, pinned):
            return Source(path, form)
        return Source(path, form, pinned.known)

    def head(self, path: str) -> Contents | None:
        """What the head of a GGUF file says that is not there."""
        pinned = self._absent(path)
        if pinned is None or pinned.head is None or _form(path, pinned) != "gguf":
            return None
        from modelbuild.checkpoint.ggufs import Contents

        return Contents.recalled(pinned.head, os.path.basename(path))

    def parts(self, paths: Iterable[str]) -> set[str] | None:
        """The parts that a checkpoint gives beside its text model, of which these files are not there; None where the lock does not say."""
        found: set[str] = set()
        for path in paths:
            head = self._pinned[path].head
            if head is None or lock.PARTS not in head:
                return None
            found.update(str(head[lock.PARTS]).split())
        return found

    def _absent(self, path: str) -> Pinned | None:
        """What the lock says of a file that is not there. Raises Error where there is a pointer to another one than it pins."""
        pinned = self._pinned.get(path)
        if pinned is None or self._observed.kind(path) is None:
            return pinned
        pointed = self._pointed(path)
        if pointed is not None and pointed != pinned.sha256:
            raise Error(
                "is a Git LFS pointer to other weights than the lock pins",
                path=path,
                facts=[("pointer", pointed), ("lock", pinned.sha256)],
                hint="fetch the weights with 'git lfs pull', or commit the lock of a build where they are",
            )
        return pinned if pointed is not None else None

    def _pointed(self, path: str) -> str | None:
        self._observed.stat(path)
        return lfs.pointed(path)


def _form(path: str, pinned: Pinned) -> str:
    """How the file was hashed that the lock pins: a GGUF file has a head there, and an importance matrix is hashed as it is."""
    if pinned.head is not None and lock.PARTS not in pinned.head:
        return "gguf"
    return "safetensors" if path.endswith(".safetensors") else "bytes"


def _save(name: str) -> str | None:
    """What the parts of one save have in common in their names; None for a file that is no part."""
    found = _COUNTED.fullmatch(name)
    return found[1] + found[2] if found else None
