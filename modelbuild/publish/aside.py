"""Blobs whose bytes are wrong are set aside, so that the next build makes them again."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection

from modelbuild.digest import file_name
from modelbuild.engine.store import DAMAGED, Store
from modelbuild.files import make_folder, open_plain, unwritten
from modelbuild.ollama.library import Library
from modelbuild.publish.scratch import Scratch, copy
from modelbuild.publish.written import Written


class Aside:
    """Takes damaged blobs out of the store and of one models folder; they are kept in a folder of the store."""

    def __init__(self, root: str, store: Store) -> None:
        self.library = Library(root)
        self.folder = os.path.join(store.root, DAMAGED)
        self._store = store
        self._scratch = Scratch(self.library, store)
        self._written = Written(store.database, root)

    def may_take(self, blob: str, names: Collection[str]) -> bool:
        """Whether a blob of the models folder is ours, and so is each model (`host/namespace/model/tag`) that names it."""
        ours = self._written.names()
        return blob in self._written.blobs() and all(name in ours for name in names)

    def take(self, blob: str, path: str, seen: os.stat_result) -> bool:
        """Set a damaged file of the models folder aside, unless it is no longer what was `seen`. Raises Error and OSError."""
        with self._scratch.locked():
            return self.take_own(blob, path, seen)

    def take_own(self, blob: str, path: str, seen: os.stat_result) -> bool:
        """Set a damaged file of the store aside in the same way. Raises OSError."""
        if not self._move(path, os.path.join(self.folder, file_name(blob)), seen):
            return False
        self._store.forget_location(blob, path)
        if self._store.path(blob) is None:
            self._store.forget(blob)
        return True

    def distrust(self, blob: str, path: str) -> None:
        """Have a blob hashed before it is believed again: a build of ours that needs it puts a whole one in its place."""
        self._store.forget_location(blob, path)

    def tidy(self) -> None:
        """Remove our folders in the models folder where nothing is in them. Never raises."""
        for folder in self._scratch.folders():
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def _move(self, path: str, target: str, seen: os.stat_result) -> bool:
        make_folder(self.folder)
        try:
            # Not by its change time: another name of the same file may have been set aside just now.
            if not unwritten(seen, os.stat(path, follow_symlinks=False)):
                return False
            os.replace(path, target)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with self._store.temporary(self.folder) as file, open_plain(path) as source:
                copy(source, file)
                os.replace(file.path, target)
        # One name of a file that is renamed to another of its names stays, and so does what was copied.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return True
