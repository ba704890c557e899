"""A folder for one conversation; one whose process was killed is removed by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress

from modelbuild.files import DAY, stands

PREFIX = "modelbuild-run-"
_LOCK = "lock"


class Folder:
    """A temporary folder, from when it is made until `cleanup`. Its lock is held by this process, and by no other that it starts."""

    def __init__(self) -> None:
        _clear_dead()
        while True:
            self.name = tempfile.mkdtemp(prefix=PREFIX)
            lock = os.path.join(self.name, _LOCK)
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if stands(lock, self._lock):
                break
            # Another process took it for one of a killed process before the lock was ours.
            os.close(self._lock)

    def cleanup(self) -> None:
        """Remove it, and all in it. Never raises."""
        shutil.rmtree(self.name, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _clear_dead() -> None:
    """Remove the folders of processes of this user that are gone. Never raises."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as scan:
        for entry in scan:
            if entry.name.startswith(PREFIX):
                with suppress(OSError):
                    _clear(entry)


def _clear(entry: os.DirEntry[str]) -> None:
    info = entry.stat(follow_symlinks=False)
    if not entry.is_dir(follow_symlinks=False) or info.st_uid != os.getuid():
        return
    try:
        lock = os.open(os.path.join(entry.path, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Perhaps it is just being made.
        if time.time() - info.st_mtime > DAY:
            shutil.rmtree(entry.path, ignore_errors=True)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(lock)
