"""Unfinished artifacts: what is done of a large file outlives a build that is stopped or killed, tensor by tensor.

The file is named by the action that makes it, and the tensor index leads to it: its bytes are believed only by their hashes. The
next run of the action writes the same bytes to the same places of the same file, so nothing takes space twice.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

from modelbuild import ownership
from modelbuild.digest import file_name
from modelbuild.engine.action import Range
from modelbuild.engine.cache import LocalCache
from modelbuild.errors import Error
from modelbuild.files import DAY, UNFINISHED, Temporary, abandoned, create, remove_temporary, stands

KEPT = 7 * DAY
"""Seconds after which an unfinished artifact that no build went on with is removed."""

EVERY = 0.5
"""Seconds between two notes of what is done: a killed build loses no more."""

TRIES = 10
"""Looks at a lock before another build is taken to write the file."""


class Unfinished(Temporary):
    """The file of an action in a folder, new or as an earlier build left it.

    Raises BlockingIOError where a build with another cache is writing it, and other OSErrors where it cannot be used.
    """

    def __init__(self, cache: LocalCache, action: str, folder: str) -> None:
        self._cache = cache
        self._name = UNFINISHED + file_name(action)
        self._new: list[tuple[str, Range]] = []
        self._noted = time.monotonic()
        self.path = os.path.join(folder, self._name)
        while True:
            self._descriptor = create(self.path, os.O_RDWR)
            try:
                _lock(self._descriptor)
                if not self._is_ours():
                    os.unlink(self.path)
            except BaseException as error:
                if not isinstance(error, BlockingIOError) and not os.fstat(self._descriptor).st_size:
                    remove_temporary(self.path)
                os.close(self._descriptor)
                raise
            if stands(self.path, self._descriptor):
                break
            os.close(self._descriptor)
        with contextlib.suppress(OSError):
            os.chmod(self._descriptor, 0o644)
        ownership.hand_over(self._descriptor, folder)
        self.resumed = os.fstat(self._descriptor).st_size > 0
        """Whether an earlier build has left something of it."""

    def _is_ours(self) -> bool:
        """Whether nobody has put a file of somebody else's under this name, for us to write into."""
        info, folder = os.fstat(self._descriptor), os.stat(os.path.dirname(self.path))
        return info.st_nlink == 1 and info.st_uid in (os.geteuid(), folder.st_uid)

    def done(self, key: str, offset: int, length: int, xxh3: str) -> None:
        """A tensor lies in the file. It is noted at once or soon."""
        self._new.append((key, Range(self._name, offset, length, xxh3)))
        if time.monotonic() - self._noted >= EVERY:
            self._note()

    def _note(self) -> None:
        # What cannot be noted is computed once more, if ever.
        with contextlib.suppress(Error):
            self._cache.note(self._new)
        self._new.clear()
        self._noted = time.monotonic()

    def keep(self) -> None:
        """Leave the file for a later build, as far as it contains tensors. Never raises an OSError."""
        self._note()
        with contextlib.suppress(OSError, Error):
            if end := self._cache.index.end(self._name):
                os.ftruncate(self._descriptor, end)
                os.close(self._descriptor)
                self._descriptor = -1

    def close(self) -> None:
        """Remove the file, unless it was kept or has been renamed. Never raises."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if stands(self.path, self._descriptor):
                os.unlink(self.path)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file; somebody who only looks at it, as `abandoned` does, is waited for."""
    import fcntl

    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.02)


def path(blob: str, folder: str | None) -> str | None:
    """The unfinished file in a folder that a blob of the tensor index means, if there is one."""
    if folder is None or not blob.startswith(UNFINISHED) or os.sep in blob:
        return None
    found = os.path.join(folder, blob)
    return found if os.path.isfile(found) else None


def held(folders: Iterable[str]) -> int:
    """Bytes that unfinished files take, which a build can have: it goes on with them, or removes them."""
    total = 0
    for folder in folders:
        for entry in abandoned(folder, UNFINISHED):
            with contextlib.suppress(OSError):
                total += 512 * entry.stat(follow_symlinks=False).st_blocks
    return total


def sweep(folder: str, limit: int) -> None:
    """Remove what no build went on with for a week, and the oldest of the others above `limit` bytes; the newest stays. Never raises."""
    found = []
    for entry in abandoned(folder, UNFINISHED):
        with contextlib.suppress(OSError):
            info = entry.stat(follow_symlinks=False)
            found.append((info.st_mtime, 512 * info.st_blocks, entry.path))
    total, gone = 0, set()
    for number, (written, size, path) in enumerate(sorted(found, reverse=True)):
        total += size
        if written < time.time() - KEPT or (number and total > limit):
            gone.add(path)
    for entry in abandoned(folder, UNFINISHED) if gone else ():
        if entry.path in gone:
            remove_temporary(entry.path)
