"""Ctrl-C during a build: noticed at once, raised only if no lock is held and no work is half done.

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

_heard = False


@contextmanager
def deferred(abort: Callable[[], None]) -> Iterator[None]:
    """Within, the first SIGINT calls `abort` and waits for `check`; a second one is raised where it falls."""
    global _heard
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def hear(number: int, frame: FrameType | None) -> None:
        global _heard
        if _heard:
            raise KeyboardInterrupt
        _heard = True
        abort()

    _heard = False
    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        heard, _heard = _heard, False
        # Also where an error ends the block: one that was heard must not be forgotten.
        if heard and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            raise KeyboardInterrupt


@contextmanager
def put_off() -> Iterator[None]:
    """Within, `check` raises nothing: tidying up after an interrupt is not interrupted by the same one."""
    global _heard
    heard, _heard = _heard, False
    try:
        yield
    finally:
        _heard = heard or _heard


def check() -> None:
    """Raise KeyboardInterrupt if there was one."""
    if _heard:
        raise KeyboardInterrupt
