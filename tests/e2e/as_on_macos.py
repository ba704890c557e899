"""Run `modelbuild` without what Linux has and macOS lacks: `python -m tests.e2e.as_on_macos ARGUMENTS`.

Names are removed from the standard library, before anything of ours is imported; files below /proc, /sys and the like are not there; and no
ioctl shares extents between files.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import os
import select
import sys
from typing import Any

LACKING = {
    os: [
        "copy_file_range", "eventfd", "fdatasync", "getresgid", "getresuid", "getxattr", "listxattr", "memfd_create", "pidfd_open", "pipe2",
        "posix_fadvise", "posix_fallocate", "removexattr", "sched_getaffinity", "sched_setaffinity", "setns", "setxattr", "splice",
        "unshare", "O_DIRECT", "O_LARGEFILE", "O_NOATIME", "O_PATH", "O_RSYNC", "O_TMPFILE", "POSIX_FADV_DONTNEED",
        "RWF_HIPRI", "RWF_NOWAIT",
    ],
    select: ["epoll"],
    fcntl: ["F_OFD_GETLK", "F_OFD_SETLK", "F_OFD_SETLKW", "F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_NOTIFY"],
}  # fmt: skip
"""Module -> its names that the documentation of Python gives as not available on macOS."""

LINUX = ("/proc/", "/sys/", "/dev/shm/")


def not_there(path: Any) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(LINUX)


def hidden(call: Any) -> Any:
    def called(path: Any, *args: Any, **named: Any) -> Any:
        if not_there(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return call(path, *args, **named)

    return called


def no_ioctl(descriptor: int, request: int, *args: Any) -> Any:
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))


def no_sysconf(name: str) -> int:
    raise ValueError("unrecognized configuration name")


def become() -> None:
    for module, names in LACKING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    builtins.open = hidden(builtins.open)
    os.open, os.stat, os.scandir = hidden(os.open), hidden(os.stat), hidden(os.scandir)
    fcntl.ioctl, os.sysconf = no_ioctl, no_sysconf  # type: ignore[assignment]
    # The libraries for events of inotify.
    for name in ("inotify_simple", "watchdog.observers.inotify"):
        sys.modules[name] = None  # type: ignore[assignment]


if __name__ == "__main__":
    become()
    from modelbuild.cli.main import program

    sys.exit(program())
