"""Ctrl-C during a build, or news that it is obsolete: noticed at once, raised only if no lock is held and no work is half done.

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


_heard: type[BaseException] | None = None
_abort: Callable[[], None] | None = None
_mutex = threading.Lock()


@contextmanager
def deferred(abort: Callable[[], None]) -> Iterator[None]:
    """Within, the first SIGINT, or `supersede`, calls `abort` and waits for `check`; a second SIGINT is raised where it falls."""
    global _heard, _abort
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def hear(number: int, frame: FrameType | None) -> None:
        global _heard
        if _heard is KeyboardInterrupt:
            raise KeyboardInterrupt
        _heard = KeyboardInterrupt
        abort()

    _heard, _abort = None, abort
    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        with _mutex:
            _abort = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        heard, _heard = _heard, None
        # Also where an error ends the block: one that was heard must not be forgotten.
        if heard is not None and not isinstance(sys.exc_info()[1], heard):
            raise heard


def supersede() -> bool:
    """Have the work that is under way end, from another thread. Returns whether there is some that can be ended."""
    global _heard
    with _mutex:
        if _abort is None:
            return False
        if _heard is None:
            _heard = Superseded
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
    """Raise KeyboardInterrupt, or Superseded, if there was one."""
    if _heard is not None:
        raise _heard
