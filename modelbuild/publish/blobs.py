"""The blobs of a models folder: checked or put there, so that nobody ever sees an incomplete one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Collection, Iterable, Sequence
from typing import BinaryIO

from modelbuild import page_cache
from modelbuild.engine.action import ActionResult
from modelbuild.engine.store import SMALL, Damaged, Store
from modelbuild.errors import Error
from modelbuild.files import AGAIN, open_plain, remove_temporary, signature, sync_folder, unwritten
from modelbuild.ollama.library import Library
from modelbuild.publish.one_by_one import OneByOne
from modelbuild.publish.scratch import Scratch, copy
from modelbuild.publish.spares import Spares
from modelbuild.publish.written import Written
from modelbuild.synced import sync_file, sync_files

PRUNED = 1800.0
"""Seconds after which a blob is made young again before a manifest names it: a server's start deletes blobs that no manifest
names, unless they are younger than an hour."""

_NO_LINK = (errno.EEXIST, errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)


class Blobs:
    """The blobs of one models folder. Its lock must be held by who puts any."""

    def __init__(self, library: Library, store: Store, written: Written, scratch: Scratch, spares: Spares) -> None:
        self._library = library
        self._folder = library.blobs
        self._store = store
        self._written = written
        self._scratch = scratch
        self._spares = spares
        self.noted = OneByOne(self._location, lambda: store.located(self._folder))
        """Digest -> signature, as it was noted, of each blob that is known to be whole."""
        self.replaced: dict[str, None] = {}
        """Digests of blobs that stood here with other bytes, and were put again."""

    def _location(self, artifact: str) -> str | None:
        return self._store.located_at(artifact, self._library.blob_path(artifact))

    def doubt(self) -> None:
        """Believe no blob unhashed, however untouched it looks."""
        self.noted.forget()

    def has(self, blob: ActionResult) -> bool:
        """Whether the blob stands here now, whole. One that is not as we put it is hashed before it is believed."""
        path = self._library.blob_path(blob.artifact)
        try:
            info = os.stat(path)
            if info.st_size != blob.size:
                return False
            if signature(info) != self.noted.get(blob.artifact):
                if not stat.S_ISREG(info.st_mode) or sha256_of(path) != blob.artifact:
                    self.noted.set(blob.artifact, None)
                    return False
                self.noted.set(blob.artifact, self._store.note_location(blob.artifact, path))
        except OSError:
            return False
        return True

    def unchecked(self, blobs: Iterable[ActionResult]) -> list[ActionResult]:
        """Those that `has` is going to hash: there, of the right size, and not as we put them."""
        found = []
        for blob in blobs:
            with contextlib.suppress(OSError):
                info = os.stat(self._library.blob_path(blob.artifact))
                if info.st_size == blob.size and signature(info) != self.noted.get(blob.artifact):
                    found.append(blob)
        return found

    def put_missing(self, blobs: Sequence[ActionResult]) -> None:
        """See each blob here, now, or put it; a few times where somebody removes them meanwhile."""
        for _ in range(AGAIN):
            missing = [blob for blob in blobs if not self.has(blob)]
            if not missing:
                return
            for blob in missing:
                self._put(blob)
        raise Error("another program keeps removing blobs", path=self._folder, hint="build again")

    def put_together(self, blobs: Collection[ActionResult]) -> None:
        """Put the small ones of many blobs that are missing, as hard links to the store's files. Those left out are for `put_missing`.

        Raises OSError, and Damaged for an artifact that has to be made again.
        """
        missing = [blob for blob in blobs if blob.size <= SMALL and not self.has(blob)]
        self._scratch.make(self._folder)
        found = {blob: path for blob in missing if (path := self._store.linkable(blob.artifact, self._folder))}
        self._written.note_loose([blob.artifact for blob in found], ours=True)
        before = {blob: self._checked(blob, path) for blob, path in found.items()}
        wrong = sync_files(found.values())
        for blob, path in found.items():
            if path in wrong:
                self._unwritten(blob, path)
        for error in wrong.values():
            raise error
        linked = []
        for blob, path in found.items():
            target = self._library.blob_path(blob.artifact)
            try:
                os.link(path, target)
            except OSError as error:
                if error.errno in _NO_LINK:
                    continue
                raise
            after = os.stat(target)
            if unwritten(before[blob], after):
                linked.append((blob.artifact, target, before[blob], after))
            else:
                # Another build has put its own file there since: it is read, and goes to the disk as well.
                sync_file(target)
        sync_folder(self._folder)
        self._store.note_links(linked)
        for artifact, _, _, after in linked:
            self.noted.set(artifact, signature(after))

    def _checked(self, blob: ActionResult, path: str) -> os.stat_result:
        """The stat of an artifact's file, young enough for a manifest to name it, after all of it was read."""
        with open(path, "rb", buffering=0) as source:
            self._store.verify(blob.artifact, source)
            return self._young(source.fileno())

    def _put(self, blob: ActionResult) -> None:
        self._scratch.make(self._folder)
        target = self._library.blob_path(blob.artifact)
        # Noted first: what a killed build leaves is still known as ours.
        self._written.note_loose([blob.artifact], ours=True)
        was_there = os.path.lexists(target)
        with self._store.open(blob.artifact) as source:
            self._store.verify(blob.artifact, source)
            self._persist(blob, source)
            page_cache.forget(source.fileno())
            before = os.fstat(source.fileno())
            self._young(source.fileno())
            if os.path.dirname(source.name) == self._scratch.near(self._folder) or self._spares.holds(source.name):
                self._scratch.move(source.name, target)
                self._store.forget_location(blob.artifact, source.name)
            else:
                self._link(source, target, blob)
            self._store.touched(blob.artifact, source.fileno(), before)
        if was_there:
            self.replaced[blob.artifact] = None
        sync_folder(self._folder)
        self.noted.set(blob.artifact, self._store.note_location(blob.artifact, target))

    def _persist(self, blob: ActionResult, source: BinaryIO) -> None:
        try:
            os.fsync(source.fileno())
        except OSError:
            self._unwritten(blob, source.name)
            raise

    def _unwritten(self, blob: ActionResult, path: str) -> None:
        """The kernel tells of a page that it could not write once: the next call would say that all is well."""
        remove_temporary(path)
        self._store.forget(blob.artifact)

    @staticmethod
    def _young(file: int) -> os.stat_result:
        """Make an open file young if it is too old for a server's start; returns its stat."""
        info = os.fstat(file)
        if info.st_mtime >= time.time() - PRUNED:
            return info
        with contextlib.suppress(OSError):
            os.utime(file)
        return os.fstat(file)

    def _link(self, source: BinaryIO, target: str, blob: ActionResult) -> None:
        """Put an artifact of the store: by a hard link where that can be, else by a copy."""
        with self._scratch.temporary(self._folder) as file:
            try:
                linked = file.link(source.name)
            except FileNotFoundError:
                if os.path.exists(source.name):
                    raise
                # Somebody cleared the cache: it is made again.
                raise Damaged(blob.artifact) from None
            if not linked:
                copy(source, file)
            self._scratch.move(file.path, target)

    def drop_doubles(self, folder: str) -> None:
        """Remove large artifacts that were made once more, though they stand among the blobs already."""
        for name in os.listdir(folder):
            artifact, path = name.replace("-", ":", 1), os.path.join(folder, name)
            if self.noted.get(artifact) is not None and self.has(ActionResult(artifact, os.stat(path).st_size)):
                os.unlink(path)
                self._store.forget_location(artifact, path)


def sha256_of(path: str) -> str:
    """The digest of a file."""
    import hashlib

    with open_plain(path) as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a buffered reader
