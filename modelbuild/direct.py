"""Large files are written and read past the kernel's page cache, where the file system can (O_DIRECT).

A file system that cannot, or whose blocks are larger than ours, gets the same bytes through the cache, and is told to forget them.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild import page_cache, trace

if TYPE_CHECKING:
    from concurrent.futures import Future

BLOCK = 4096
"""Offsets, lengths and addresses of direct reads and writes are multiples of it."""
BUFFER = 4 << 20
"""Bytes of one write; with more the disk is no faster."""
BUFFERS = 3
"""Buffers of a file that is written: one is filled, the others are on their way. With a second one on its way the disk is faster while it
is read as well; with a third it is not."""
WINDOW = 32 << 20
"""Bytes that are written between one `forget` and the next."""


def room(size: int) -> int:
    """Bytes of a buffer that `Passing.read` can read `size` bytes into, wherever they lie."""
    return BLOCK + -(-size // BLOCK) * BLOCK


def reserve(file: int, size: int) -> None:
    """Have an open file be of a size, with space for all of it where the file system can promise that.

    Raises OSError where there is not enough.
    """
    os.ftruncate(file, size)
    if not sys.platform.startswith("linux") or not size:
        return
    import ctypes

    # Not `posix_fallocate`: the C library writes to each block where the file system cannot reserve, which takes as long as the file.
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if call is None:
        return
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(file, 0, 0, size) and (code := ctypes.get_errno()) in (errno.ENOSPC, errno.EDQUOT):
        raise OSError(code, os.strerror(code))


def buffer(size: int) -> mmap.mmap:
    """Memory for direct reads and writes: it begins with a page. Pages that are never touched take no memory."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)


def share(source: int, at: int, target: int, to: int, size: int) -> bool:
    """Have bytes of an open file share the blocks of another one's on the disk (btrfs, XFS); False where the file system can't.

    `at`, `to` and `size` are multiples of BLOCK. Nothing is read or written, and a later write to either file changes that one alone.
    Source: ioctl_ficlonerange(2)
    """
    try:
        import fcntl

        fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, at, size, to))
    except (ImportError, OSError):
        return False
    return True


_FICLONERANGE = 0x4020940D

Kept = Sequence[tuple[int, int]]
"""Parts of a file that are in it already, from and to a multiple of BLOCK, in order."""


class Growing:
    """An open file that is written from its start to its end: threads write buffers while another is filled.

    size  bytes of a buffer, a multiple of BLOCK
    kept  what is in the file already: the same bytes are given, and not written
    """

    def __init__(self, file: int, size: int = BUFFER, kept: Kept = ()) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._file = file
        self._direct = _switch(file, on=True)
        self._spare = [buffer(size) for _ in range(BUFFERS)]
        self._filling = self._spare.pop()
        self._filled = 0
        self._at = 0
        self._kept = deque(kept)
        self._written = 0
        self._forgotten = 0
        self._threads = ThreadPoolExecutor(BUFFERS - 1, thread_name_prefix="write")
        self._writing: deque[tuple[Future[None], mmap.mmap, int]] = deque()

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. Raises OSError, also for bytes that were given before."""
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                start, end = self._kept[0] if self._kept else (sys.maxsize, sys.maxsize)
                left, place = len(view) - at, self._at + self._filled
                if start <= place:
                    at += self._skip(min(left, end - place))
                    continue
                count = min(left, len(self._filling) - self._filled, start - place)
                self._filling[self._filled : self._filled + count] = view[at : at + count]
                self._filled += count
                at += count
                if self._filled == len(self._filling) or place + count == start:
                    self._pass_on()

    def _skip(self, count: int) -> int:
        """Pass over bytes that are in the file. What lay before them is on its way: the buffer is empty."""
        self._at += count
        if self._at == self._kept[0][1]:
            self._kept.popleft()
        return count

    def _pass_on(self) -> None:
        """Have a thread write the full buffer, and take another to fill."""
        full, start, size = self._filling, self._at, self._filled
        self._at += size
        self._filled = 0
        self._writing.append((self._threads.submit(self._put, full, 0, size, start), full, self._at))
        if not self._spare:
            self._wait()
        self._filling = self._spare.pop()

    @property
    def written(self) -> int:
        """Bytes that are in the file, from its start without a gap."""
        while self._writing and self._writing[0][0].done() and not self._writing[0][0].exception():
            self._wait()
        return self._written

    def finish(self) -> None:
        """Write what is left, the end of the file through the cache."""
        while self._writing:
            self._wait()
        whole = self._filled // BLOCK * BLOCK
        self._put(self._filling, 0, whole, self._at)
        if self._direct:
            self._direct = _switch(self._file, on=False)
        self._put(self._filling, whole, self._filled, self._at + whole)
        self._at += self._filled
        self._written, self._filled = self._at, 0

    def _wait(self) -> None:
        """Wait for the first of the buffers on their way. One that cannot be written stays the first."""
        future, data, end = self._writing[0]
        with trace.span("wait for the disk", "wait"):
            future.result()
        self._writing.popleft()
        self._spare.append(data)
        self._written = end
        # Some file systems take the flag, and fill the cache all the same.
        if end - self._forgotten >= WINDOW:
            self._threads.submit(page_cache.forget, self._file, 0, end)
            self._forgotten = end

    def _put(self, data: mmap.mmap, first: int, end: int, at: int) -> None:
        with trace.span("write", "io", bytes=end - first), memoryview(data) as view:
            while first < end:
                direct = self._direct
                try:
                    count = os.pwrite(self._file, view[first:end], at)
                except OSError as error:
                    if not direct or error.errno != errno.EINVAL:
                        raise
                    self._direct = _switch(self._file, on=False)
                    continue
                first += count
                at += count


class Passing:
    """A file that is read, and does not stay in the cache for that. Safe for threads."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._direct = _switch(self._file, on=True)

    def read(self, into: mmap.mmap, offset: int, size: int) -> memoryview:
        """The bytes from `offset` to `offset + size`, fewer where the file ends: a part of `into`, which has `room(size)`."""
        skipped = offset % BLOCK
        got, end = 0, skipped + size
        with memoryview(into) as view:
            while got < end:
                direct = self._direct
                try:
                    count = os.preadv(self._file, [view[got : room(end) - BLOCK]], offset - skipped + got)
                except OSError as error:
                    if not direct or error.errno != errno.EINVAL:
                        raise
                    self._direct = _switch(self._file, on=False)
                    continue
                if not count:
                    break
                got += count
            return view[skipped : max(skipped, min(got, end))]

    def forget(self, offset: int, length: int) -> None:
        page_cache.forget(self._file, offset, length)

    def close(self) -> None:
        os.close(self._file)


def _switch(file: int, *, on: bool) -> bool:
    """Have an open file go past the cache or through it; returns whether it goes past it now."""
    import fcntl

    direct = getattr(os, "O_DIRECT", 0)
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags | direct if on else flags & ~direct)
    except OSError:
        return False
    return on and bool(direct)
