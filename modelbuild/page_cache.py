"""Large files bypass the kernel's page cache: they are on the disk soon, and memory stays with files that are read often.

A model that fills the cache pushes out the weights that the next variant is made from. And where memory comes from a host that takes
free pages back, as under most virtual machines, filling the cache costs several times what computing the model does.
"""

from __future__ import annotations

import contextlib
import os


def forget(file: int, offset: int = 0, length: int = 0) -> None:
    """Have the pages of an open file begin their way to the disk, and drop those that are there; a length of 0: to the end.

    Pages on their way stay until they are forgotten again, and those that a program has mapped stay. Does nothing where the
    system has no such call.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)
