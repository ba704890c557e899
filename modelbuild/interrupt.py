"""Ctrl-C during a build: noticed at once, raised only if no lock is held and no work is half done. The same for SIGTERM and SIGHUP.

Raised anywhere, KeyboardInterrupt can fall between taking a lock and noting that it is taken, also inside `concurrent.futures`:
then a thread waits for ever, or a transaction stays open.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_heard = 0
"""The signal that was heard, and not raised yet."""


class Ended(KeyboardInterrupt):
    """Somebody asked the process to end, not at its keyboard; `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def deferred(abort: Callable[[], None]) -> Iterator[None]:
    """Within, the first signal calls `abort` and waits for `check`; a second one is raised where it falls."""
    global _heard
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # One that is ignored, as with nohup, stays so.
        if (handler := signal.getsignal(number)) in (signal.default_int_handler, signal.SIG_DFL)
    }

    def hear(number: int, frame: FrameType | None) -> None:
        global _heard
        if _heard:
            raise _raised(number)
        _heard = number
        abort()

    _heard = 0
    for number in usual:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        heard, _heard = _heard, 0
        # Also where an error ends the block: one that was heard must not be forgotten.
        if heard and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            raise _raised(heard)


@contextmanager
def put_off() -> Iterator[None]:
    """Within, `check` raises nothing: tidying up after an interrupt is not interrupted by the same one."""
    global _heard
    heard, _heard = _heard, 0
    try:
        yield
    finally:
        _heard = heard or _heard


def check() -> None:
    """Raise KeyboardInterrupt if there was a signal."""
    if _heard:
        raise _raised(_heard)


def _raised(number: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if number == signal.SIGINT else Ended(number)
