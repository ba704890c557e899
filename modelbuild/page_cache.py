"""Large files bypass the kernel's page cache: they are on the disk soon, and memory stays with files that are read often.

A model that fills the cache pushes out the weights that the next variant is made from. And where memory comes from a host that takes
free pages back, as under most virtual machines, filling the cache costs several times what computing the model does.
"""

from __future__ import annotations

import contextlib
import os

WINDOW = 32 << 20
"""Bytes that are written between one `forget` and the next."""


class Growing:
    """An open file that is written from its start to its end, and forgotten as it grows."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._forgotten = 0

    def reach(self, end: int) -> None:
        """All bytes before `end` are written."""
        if end - self._forgotten >= WINDOW:
            forget(self._file, 0, end)
            self._forgotten = end


def forget(file: int, offset: int = 0, length: int = 0) -> None:
    """Have the pages of an open file begin their way to the disk, and drop those that are there; a length of 0: to the end.

    Pages on their way stay until they are forgotten again, and those that a program has mapped stay. Does nothing where the
    system has no such call.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)
