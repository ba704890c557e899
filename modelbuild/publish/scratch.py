"""Temporary files of a models folder: on the file system of the final file, under one lock."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from modelbuild import digest as digests
from modelbuild import interrupt, page_cache
from modelbuild.engine.spare import FOLDER
from modelbuild.engine.store import Store
from modelbuild.files import (
    AGAIN,
    ASIDE,
    PARTIAL,
    TEMPORARY,
    UNFINISHED,
    Temporary,
    clear_temporaries,
    lock_file,
    make_folder,
    open_plain,
    remove_temporary,
    sync_folder,
)
from modelbuild.ollama.library import SCRATCH, Library
from modelbuild.publish.writable import check_links, refused
from modelbuild.synced import sync_files, sync_folders, write_new


class Scratch:
    """The folders of temporary files of one models folder, and its lock."""

    def __init__(self, library: Library, store: Store) -> None:
        self._library = library
        self._store = store
        self._main = os.path.join(library.root, SCRATCH)
        self._nearer: dict[str, str] = {}
        self._cleared = False

    @contextlib.contextmanager
    def locked(self, at_most: float = math.inf) -> Iterator[None]:
        """Hold the lock of the models folder. Raises BlockingIOError where another build holds it for longer than `at_most` seconds."""
        check_links(self._library, *self._usual(), self._library.manifests)
        self.make(self._main)
        with lock_file(os.path.join(self._main, "lock"), self._store.database.waiting, at_most):
            if not self._cleared:
                self._cleared = True
                for folder in self._usual():
                    clear_temporaries(folder)
                    clear_temporaries(folder, ASIDE)
            yield

    def make(self, folder: str) -> None:
        """Make a folder, whatever is removed meanwhile."""
        check_links(self._library, folder)
        try:
            make_folder(folder)
        except OSError as error:
            raise refused(self._library.root, error) from error

    def near(self, folder: str) -> str:
        """The folder for temporary files that are to be renamed into a folder: one on its file system.

        `blobs`, `manifests` or a folder below may be a link to another disk, or another mount.
        """
        known = self._nearer.get(folder)
        if known is None:
            far = os.stat(folder).st_dev != os.stat(self._library.root).st_dev
            known = self._nearer[folder] = os.path.join(folder, SCRATCH) if far else self._main
        return known

    @contextlib.contextmanager
    def temporary(self, folder: str) -> Iterator[Temporary]:
        """A file to write that is to be moved into a folder."""
        near = self.near(folder)
        self.make(near)
        with self._store.temporary(near) as file:
            yield file

    def put(self, path: str, data: bytes) -> os.stat_result:
        """Write a small file, a manifest: it changes at once or not at all, and is on the disk. Returns its stat."""
        folder = os.path.dirname(path)
        self.make(folder)
        with self.temporary(folder) as file:
            file.write(data)
            os.fsync(file.fileno())
            self.move(file.path, path)
            info = os.fstat(file.fileno())
        sync_folder(folder)
        return info

    def put_together(self, files: Mapping[str, bytes]) -> Iterator[tuple[str, os.stat_result]]:
        """Write many small files as `put` does. Each is told of, with its stat, where it stands; the last when all are on the disk."""
        staged: dict[str, str] = {}
        made: set[str] = set()
        try:
            for path, data in files.items():
                folder = os.path.dirname(path)
                self.make(folder)
                near = self.near(folder)
                if near not in made:
                    made.add(near)
                    self.make(near)
                staged[path] = os.path.join(near, TEMPORARY + os.urandom(8).hex())
                write_new(staged[path], data)
            for error in sync_files(staged.values()).values():
                raise error
            for path, temporary in staged.items():
                before = os.stat(temporary)
                self.move(temporary, path)
                staged[path] = ""
                info = os.stat(path)
                if os.path.samestat(before, info):
                    yield path, info
            sync_folders({os.path.dirname(path) for path in staged})
        finally:
            for temporary in filter(None, staged.values()):
                remove_temporary(temporary)

    def move(self, path: str, target: str) -> None:
        """Rename a temporary file to a place whose folder a server may remove at any moment."""
        folder = os.path.dirname(target)
        for left in reversed(range(AGAIN)):
            try:
                os.replace(path, target)
                return
            except FileNotFoundError:
                if not left or not os.path.lexists(path):
                    raise
                make_folder(folder)
            except OSError as error:
                if error.errno != errno.EXDEV or self.near(folder) != self._main:
                    raise
                break
        # Two mounts of one file system: no stat tells them apart.
        self._nearer[folder] = os.path.join(folder, SCRATCH)
        with open_plain(path, buffering=0) as source, self.temporary(folder) as file:
            copy(source, file)
            os.replace(file.path, target)

    def set_aside(self, path: str) -> str:
        """Move a file of the models folder to where nobody looks for it; returns where that is."""
        folder = os.path.dirname(path)
        near = self.near(folder)
        self.make(near)
        aside = os.path.join(near, ASIDE + os.urandom(8).hex())
        try:
            os.replace(path, aside)
        except OSError as error:
            if error.errno != errno.EXDEV or near != self._main:
                raise
            self._nearer[folder] = os.path.join(folder, SCRATCH)
            return self.set_aside(path)
        return aside

    def folders(self) -> list[str]:
        """Every folder that we, or a killed build, may have left something in."""
        return list(dict.fromkeys([*self._nearer.values(), *self._usual()]))

    def _usual(self) -> list[str]:
        return [self._main, os.path.join(self._library.blobs, SCRATCH)]


def litter(folder: str) -> bool:
    """Whether a folder of ours contains more than a later command uses: unfinished downloads and artifacts, and spare ones."""
    if not os.path.lexists(folder) or os.path.islink(folder):
        return False
    try:
        names = os.listdir(folder)
        return not names or not all(name == FOLDER or name.startswith((PARTIAL, UNFINISHED)) for name in names)
    except OSError:
        return True


def copy(source: BinaryIO, file: Temporary) -> None:
    """Write all that an open file holds, and have it on the disk."""
    while data := source.read(digests.CHUNK):
        interrupt.check()
        file.write(data)
    os.fsync(file.fileno())
    page_cache.forget(file.fileno())
