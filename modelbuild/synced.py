"""Small files are written, and many files and folders brought to the disk at once: the disk is waited for as for a few."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Collection

from modelbuild import interrupt, ownership
from modelbuild.files import sync_folder

THREADS = 8


def write_new(path: str, data: bytes) -> None:
    """Write a new small file. Raises OSError, where something is there already as well."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        # Against a strict umask: a server of another user reads what becomes of this. Some file systems refuse.
        with contextlib.suppress(OSError):
            os.chmod(descriptor, 0o644)
        ownership.hand_over(descriptor, os.path.dirname(path))
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Have the bytes of a file on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(paths: Collection[str]) -> dict[str, OSError]:
    """Have the bytes of files on the disk; returns what went wrong, by path."""
    wrong: dict[str, OSError] = {}

    def sync(path: str) -> None:
        try:
            sync_file(path)
        except OSError as error:
            wrong[path] = error

    _each(sync, paths)
    return wrong


def sync_folders(paths: Collection[str]) -> None:
    """Have the entries of folders on the disk. Raises the OSError of one that cannot be."""
    _each(sync_folder, paths)


def _each(call: Callable[[str], None], paths: Collection[str]) -> None:
    """Call with each path in a few threads, each of which takes the next path that is left."""
    from concurrent.futures import ThreadPoolExecutor, wait

    left = deque(paths)

    def some() -> None:
        with contextlib.suppress(IndexError):
            while True:
                call(left.popleft())

    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")
    try:
        for done in [threads.submit(some) for _ in range(min(THREADS, len(paths)))]:
            while not wait([done], timeout=0.1).done:
                interrupt.check()
            done.result()
    finally:
        left.clear()
        threads.shutdown(wait=True, cancel_futures=True)
