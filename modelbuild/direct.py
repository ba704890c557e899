"""Large files are written and read past the kernel's page cache, where the file system can (O_DIRECT).

A file system that cannot, or whose blocks are larger than ours, gets the same bytes through the cache, and is told to forget them.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from typing import TYPE_CHECKING

from modelbuild import page_cache, trace

if TYPE_CHECKING:
    from concurrent.futures import Future

BLOCK = 4096
"""Offsets, lengths and addresses of direct reads and writes are multiples of it."""
BUFFER = 4 << 20
"""Bytes of one write; with more the disk is no faster."""
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


class Growing:
    """An open file that is written from its start to its end. Two buffers take turns: a thread writes one while the other is filled.

    size  bytes of a buffer, a multiple of BLOCK
    """

    def __init__(self, file: int, size: int = BUFFER) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._file = file
        self._direct = _switch(file, on=True)
        self._filling, self._other = buffer(size), buffer(size)
        self._filled = 0
        self._at = 0
        self._forgotten = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. Raises OSError, also for bytes that were given before."""
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                count = min(len(view) - at, len(self._filling) - self._filled)
                self._filling[self._filled : self._filled + count] = view[at : at + count]
                self._filled += count
                at += count
                if self._filled == len(self._filling):
                    self._wait()
                    self._writing = self._thread.submit(self._put, self._filling, 0, self._filled)
                    self._filling, self._other = self._other, self._filling
                    self._filled = 0

    @property
    def written(self) -> int:
        """Bytes that are in the file."""
        return self._at

    def finish(self) -> None:
        """Write what is left, the end of the file through the cache."""
        self._wait()
        whole = self._filled // BLOCK * BLOCK
        self._put(self._filling, 0, whole)
        if self._direct:
            self._direct = _switch(self._file, on=False)
        self._put(self._filling, whole, self._filled)
        self._filled = 0

    def _wait(self) -> None:
        if self._writing is not None:
            with trace.span("wait for the disk", "wait"):
                self._writing.result()

    def _put(self, data: mmap.mmap, first: int, end: int) -> None:
        with trace.span("write", "io", bytes=end - first), memoryview(data) as view:
            while first < end:
                try:
                    count = os.pwrite(self._file, view[first:end], self._at)
                except OSError as error:
                    if not self._direct or error.errno != errno.EINVAL:
                        raise
                    self._direct = _switch(self._file, on=False)
                    continue
                first += count
                self._at += count
        # Some file systems take the flag, and fill the cache all the same.
        if self._at - self._forgotten >= WINDOW:
            page_cache.forget(self._file, 0, self._at)
            self._forgotten = self._at


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
