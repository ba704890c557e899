"""Events in folders, as the system tells them: by inotify on Linux, elsewhere by watchdog."""

from __future__ import annotations

import errno
from typing import Any, Literal, Protocol

from modelbuild.files import reason
from modelbuild.tuples import NamedTuple

State = Literal["coming", "whole", "gone"]
"""Of an entry: it came or is being written, and more is to come; it stands there, or what was written to it does; it went."""


class Event(NamedTuple):
    """What happened to an entry of a folder.

    path     None where anything may have happened: events were lost, or a folder went
    listing  whether the folder's listing is another one
    """

    path: str | None
    state: State = "whole"
    listing: bool = True


class Missing(Exception):
    """No events are to be had."""


class Listener(Protocol):
    """Hears of the entries of folders.

    most  how many folders it can listen in
    """

    most: int

    def listen(self, folder: str) -> Any:
        """Listen in a folder as it is now, whether we did before or not; returns what `drop` takes.

        Raises Missing, or another OSError where only this folder is at fault.
        """

    def drop(self, folder: str, handle: Any) -> None:
        """Listen in a folder no more."""

    def read(self, seconds: float) -> list[Event]:
        """What was heard; where that is nothing, what is heard first, after at most so many seconds."""

    def close(self) -> None:
        """Listen nowhere any more."""


def why(fault: Exception) -> str:
    """Why there are no events, and what to do about it."""
    number = fault.errno if isinstance(fault, OSError) else None
    if number == errno.ENOSPC:
        return "the inotify limit is reached; raise fs.inotify.max_user_watches"
    if number == errno.EMFILE:
        return "the inotify limit is reached; raise fs.inotify.max_user_instances"
    return f"the system reports no changes ({reason(fault) if isinstance(fault, OSError) else str(fault).lower()})"
