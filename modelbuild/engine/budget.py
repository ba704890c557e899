"""One budget of memory for all steps of a build: together they take no more than it, and none waits for ever."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from modelbuild.errors import Stopped

_LOOK = 0.1
"""Seconds between two looks at whether the build is to stop."""


class Budget:
    """`total` bytes, given in the order that they are asked for, so that a large share is not overtaken for ever by small ones.

    Whoever has a share must not ask for another before it is given back.
    """

    def __init__(self, total: int, stop: threading.Event) -> None:
        self._total = total
        self._left = total
        self._stop = stop
        self._asking: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def share(self, least: int, most: int) -> Iterator[int]:
        """Wait for `least` bytes, and have up to `most` of those that are left. More than the whole budget is had alone.

        Raises Stopped where the build is stopped meanwhile.
        """
        given = self._take(least, most)
        try:
            yield given
        finally:
            with self._changed:
                self._left += given
                self._changed.notify_all()

    def _take(self, least: int, most: int) -> int:
        me = object()
        with self._changed:
            self._asking.append(me)
            try:
                while self._asking[0] is not me or not (least <= self._left or self._left == self._total):
                    if self._stop.is_set():
                        raise Stopped
                    self._changed.wait(_LOOK)
                given = max(least, min(most, self._left))
                self._left -= given
                return given
            finally:
                self._asking.remove(me)
                self._changed.notify_all()
