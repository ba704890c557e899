"""Ctrl-C, SIGTERM and SIGHUP during a build, or news that it is obsolete: noticed at once, raised only if no lock is held and no work
is half done.

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


class Superseded(KeyboardInterrupt):
    """What is under way is no longer wanted: what it is made of has changed."""


class Ended(KeyboardInterrupt):
    """Somebody asked the process to end, not at its keyboard; `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stop:
    """Says that all that is under way is to end. No lock is taken: a handler of a signal may say it, whatever it interrupts."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True


_heard: KeyboardInterrupt | None = None
"""What was heard, and not raised yet."""
_abort: Callable[[], None] | None = None
_mutex = threading.Lock()


@contextmanager
def deferred(abort: Callable[[], None]) -> Iterator[None]:
    """Within, the first signal, or `supersede`, calls `abort` and waits for `check`; a second signal is raised where it falls."""
    global _heard, _abort
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
        if _heard is not None and not isinstance(_heard, Superseded):
            raise _raised(number)
        _heard = _raised(number)
        abort()

    _heard, _abort = None, abort
    for number in usual:
        signal.signal(number, hear)
    try:
        yield
    finally:
        with _mutex:
            _abort = None
        for number, handler in usual.items():
            signal.signal(number, handler)
        heard, _heard = _heard, None
        # Also where an error ends the block: one that was heard must not be forgotten.
        ended = sys.exc_info()[1]
        if heard is not None and (not isinstance(ended, KeyboardInterrupt) or isinstance(ended, Superseded)):
            raise heard


def supersede() -> bool:
    """Have the work that is under way end, from another thread. Returns whether there is some that can be ended."""
    global _heard
    with _mutex:
        if _abort is None:
            return False
        if _heard is None:
            _heard = Superseded()
            _abort()
        return True


@contextmanager
def put_off() -> Iterator[None]:
    """Within, `check` raises nothing: tidying up after an interrupt is not interrupted by the same one."""
    global _heard
    heard, _heard = _heard, None
    try:
        yield
    finally:
        _heard = heard or _heard


def check() -> None:
    """Raise KeyboardInterrupt, or a kind of it, if there was a signal or news."""
    if _heard is not None:
        raise _heard


def _raised(number: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if number == signal.SIGINT else Ended(number)
