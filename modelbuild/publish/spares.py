"""Blobs that no model uses any more stay for a later build, if the cache has no file of its own of them."""

from __future__ import annotations

import contextlib
import os

from modelbuild.digest import file_name
from modelbuild.engine import spare
from modelbuild.engine.store import Store
from modelbuild.ollama.library import Library
from modelbuild.publish.scratch import Scratch


class Spares:
    """The spare blobs of one models folder, which lie in its folders for temporary files. Its lock must be held to add any."""

    def __init__(self, library: Library, store: Store, scratch: Scratch) -> None:
        self._library = library
        self._store = store
        self._scratch = scratch

    def take(self, blob: str, path: str) -> bool:
        """Keep a blob that was moved to `path`, if tensors lie in it that lie nowhere else; returns whether it was kept."""
        if not self._is_far():
            return False
        self._store.forget_location(blob, self._library.blob_path(blob))
        if self._store.path(blob) is not None or self._store.notes.read(blob) is None:
            return False
        folder = os.path.join(self._scratch.near(self._library.blobs), spare.FOLDER)
        self._scratch.make(folder)
        target = os.path.join(folder, file_name(blob))
        os.replace(path, target)
        self._store.note_location(blob, target)
        return True

    def _is_far(self) -> bool:
        """Whether the store lies on another file system, so that it cannot have links to these blobs. False if it is gone."""
        try:
            return os.stat(self._store.scratch).st_dev != os.stat(self._library.blobs).st_dev
        except OSError:
            return False

    def holds(self, path: str) -> bool:
        """Whether a file is one of these."""
        return os.path.dirname(path) in self.folders()

    def folders(self) -> list[str]:
        """Every folder that they may lie in."""
        return [os.path.join(folder, spare.FOLDER) for folder in self._scratch.folders()]

    def clear(self) -> None:
        """Remove all of them. Never raises."""
        for folder in self.folders():
            spare.clear(os.path.dirname(folder), 1 << 62)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
