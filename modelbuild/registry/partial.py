"""A blob that is being downloaded: a file, a journal of what of it is there, and a lock for whoever downloads it.

Each byte is written once, and read back for the digest behind the writers, while it still is in memory. So what was hashed is what
the file holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from types import TracebackType

from modelbuild import ownership, page_cache
from modelbuild.digest import file_name
from modelbuild.errors import Stopped
from modelbuild.files import DAY, PARTIAL, Waiting, lock_file
from modelbuild.registry.extents import Extent, Extents, Journal
from modelbuild.tuples import NamedTuple

JOURNAL, LOCK = ".ranges", ".lock"

KEPT = 7 * DAY
"""Seconds that a download which nobody goes on with is kept."""

BUFFER = 1 << 20

WINDOW = 32 << 20
"""Bytes that are hashed between two times that the page cache is told to drop them."""


class Blob(NamedTuple):
    """What is to be downloaded."""

    digest: str
    size: int


class Partial:
    """The file of a blob in a folder, from `with` on: then nobody else downloads it. Raises OSError."""

    def __init__(self, folder: str, blob: Blob, waiting: Waiting | None = None) -> None:
        self.blob = blob
        self.path = os.path.join(folder, PARTIAL + file_name(blob.digest))
        self._folder = folder
        self._lock = lock_file(self.path + LOCK, waiting)
        self._changed = threading.Condition()
        self._descriptor: int | None = None
        self._over = False

    def __enter__(self) -> Partial:
        self._lock.__enter__()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o644)
            ownership.hand_over(self._descriptor, self._folder)
            with contextlib.suppress(OSError):
                os.chmod(self._descriptor, 0o644)
            self._journal = Journal(self.path + JOURNAL)
            self._extents = self._journal.read(min(os.fstat(self._descriptor).st_size, self.blob.size))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.resumed = self._extents.count
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            descriptor, self._descriptor = self._descriptor, None
            self._changed.notify_all()
        if descriptor is not None:
            self._journal.close()
            os.close(descriptor)
        self._lock.__exit__(None, None, None)

    @property
    def count(self) -> int:
        """Bytes that are there."""
        with self._changed:
            return self._extents.count

    def missing(self) -> list[Extent]:
        """What is not there yet."""
        with self._changed:
            return self._extents.missing(0, self.blob.size)

    def write(self, start: int, data: bytes) -> int:
        """Write bytes, as far as they are missing; returns how many were. Raises OSError, and Stopped after the end."""
        view = memoryview(data)
        written = 0
        with self._changed:
            for gap in self._extents.missing(start, start + len(data)):
                at = gap.start
                while at < gap.end:
                    if self._descriptor is None or self._over:
                        raise Stopped
                    at += os.pwrite(self._descriptor, view[at - start : gap.end - start], at)
                self._extents.add(*gap)
                written += gap.end - gap.start
            self._changed.notify_all()
        return written

    def note(self, start: int, end: int) -> None:
        """Have the journal say that bytes which were written are there. Raises OSError."""
        with self._changed:
            if self._descriptor is not None and start < end <= self._extents.reach(start):
                self._journal.add(start, end)

    def hash(self) -> str:
        """The digest of the whole file, which is read as it grows. Raises OSError, and Stopped."""
        sha, at, forgotten = hashlib.sha256(), 0, 0
        view = memoryview(bytearray(BUFFER))
        while at < self.blob.size:
            end = self._await(at)
            descriptor = self._descriptor
            if descriptor is None:
                raise Stopped
            while at < end:
                count = os.preadv(descriptor, [view[: end - at]], at)
                if not count:
                    return ""  # somebody cut it short
                sha.update(view[:count])
                at += count
                if at - forgotten >= WINDOW:
                    # Once more what was on its way to the disk the last times.
                    page_cache.forget(descriptor, max(0, at - 8 * WINDOW), min(at, 8 * WINDOW))
                    forgotten = at
        return "sha256:" + sha.hexdigest()

    def _await(self, at: int) -> int:
        """Wait until a byte is there; returns how far it goes on from there."""
        with self._changed:
            while (end := self._extents.reach(at)) <= at:
                if self._descriptor is None or self._over:
                    raise Stopped
                self._changed.wait()
            return end

    def end(self) -> None:
        """Have other threads stop writing and hashing: they get Stopped."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def reset(self) -> None:
        """Begin anew: what is there is wrong. Nobody may be writing. Raises OSError."""
        with self._changed:
            if self._descriptor is None:
                raise Stopped
            self._journal.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._journal.path)
            os.ftruncate(self._descriptor, 0)
            self._extents = Extents()
            self.resumed = 0

    def sync(self) -> None:
        """Have the bytes on the disk. Raises OSError."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            page_cache.forget(self._descriptor)

    def discard(self) -> None:
        """Remove what is left of it: the journal of a file that was renamed, or all of one that is wrong. Never raises."""
        for path in (self.path + JOURNAL, self.path):
            with contextlib.suppress(OSError):
                os.unlink(path)


def clear_old(folder: str, now: float | None = None) -> None:
    """Remove downloads that nobody went on with for a week. Never raises."""
    oldest = (time.time() if now is None else now) - KEPT
    with contextlib.suppress(OSError), os.scandir(folder) as scan:
        for entry in scan:
            with contextlib.suppress(OSError):
                is_ours = entry.name.startswith(PARTIAL) and entry.is_file(follow_symlinks=False)
                if is_ours and not entry.name.endswith(LOCK) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                    name = entry.path.removesuffix(JOURNAL)
                    with lock_file(name + LOCK, at_most=0):
                        os.unlink(entry.path)
