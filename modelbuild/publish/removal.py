"""Removing manifests and blobs from a models folder, whatever a server puts there meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from modelbuild.ollama.library import Library, Users
from modelbuild.publish.scratch import Scratch


class Removal:
    """Removes from one models folder. Its lock must be held."""

    def __init__(self, library: Library, scratch: Scratch, users: Users) -> None:
        self._library = library
        self._scratch = scratch
        self._users = users

    def unlink(self, path: str) -> None:
        """Remove a manifest, and the folders that are empty without it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(OSError):
            while (path := os.path.dirname(path)) != self._library.root:
                os.rmdir(path)

    def unused(self, candidates: Iterable[str], spare: Callable[[str, str], bool] | None = None) -> list[str] | None:
        """Remove those of some blobs that no manifest names; returns them. `spare` may keep one: it is told the blob and its file.

        Returns None, and removes nothing, where a manifest cannot be read: it may name anything (as in Ollama). A server may put
        a manifest while we look at the others: what that names is put back.
        """
        used = self._users.used()
        if used is None:
            return None
        blobs = sorted(set(candidates) - used)
        away: dict[str, str] = {}
        for blob in blobs:
            with contextlib.suppress(FileNotFoundError):
                away[blob] = self._scratch.set_aside(self._library.blob_path(blob))
        used = self._users.used() if away else set()
        kept = set(away) if used is None else used.intersection(away)
        for blob in sorted(kept):
            os.replace(away.pop(blob), self._library.blob_path(blob))
        try:
            for blob, path in away.items():
                if spare is not None and spare(blob, path):
                    continue
                os.unlink(path)
        finally:
            # A spare one is no longer there, and whatever could not be kept is not left lying either.
            for path in away.values():
                with contextlib.suppress(OSError):
                    os.unlink(path)
        return [blob for blob in blobs if blob not in kept]
