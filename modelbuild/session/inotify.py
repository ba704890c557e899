"""Events of Linux: one descriptor for all folders, read where they are waited for, without a thread."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator

from inotify_simple import INotify, flags

from modelbuild.session.events import Event, Missing, State, why

_STATES: dict[int, State] = {
    flags.CREATE: "coming",
    flags.MODIFY: "coming",
    flags.CLOSE_WRITE: "whole",
    flags.ATTRIB: "whole",
    flags.MOVED_TO: "whole",
    flags.MOVED_FROM: "gone",
    flags.DELETE: "gone",
}
_LISTING = flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE
_AWAY = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.Q_OVERFLOW
_MASK = sum(_STATES) | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR | flags.EXCL_UNLINK


class Inotify:
    """Listens by inotify. The system limits how many folders that are."""

    def __init__(self) -> None:
        self.most = 1 << 30
        self._inotify = INotify(nonblocking=True)
        self._folders: dict[int, str] = {}

    def listen(self, folder: str) -> int:
        try:
            handle: int = self._inotify.add_watch(folder, _MASK)
        except OSError as fault:
            if fault.errno in (errno.ENOSPC, errno.ENOMEM):
                raise Missing(why(fault)) from fault
            raise
        self._folders[handle] = folder
        return handle

    def drop(self, folder: str, handle: int) -> None:
        # A folder that got another name has the same handle as before, and is listened in by that name.
        if self._folders.get(handle) == folder:
            del self._folders[handle]
            # The system drops those of folders that are gone by itself.
            try:
                self._inotify.rm_watch(handle)
            except OSError as fault:
                if fault.errno != errno.EINVAL:
                    raise

    def read(self, seconds: float) -> list[Event]:
        return list(self._events(seconds))

    def _events(self, seconds: float) -> Iterator[Event]:
        for handle, mask, _, name in self._inotify.read(timeout=math.ceil(seconds * 1000)):
            folder = self._folders.get(handle)
            if mask & _AWAY:
                yield Event(None)
            elif folder is not None and name:
                path = os.path.join(folder, name)
                state: State = next((state for flag, state in _STATES.items() if mask & flag), "whole")
                if state == "coming" and (mask & flags.ISDIR or os.path.islink(path)):
                    state = "whole"
                yield Event(path, state, bool(mask & _LISTING))

    def close(self) -> None:
        self._folders.clear()
        self._inotify.close()
