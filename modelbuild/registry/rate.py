"""A limit of bytes a second that all connections share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST = 0.25
"""Seconds of bytes that may pass at once after a pause."""


class Rate:
    """A bucket of bytes that fills at a rate, and may be overdrawn: who takes too much waits before the next."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._mutex = threading.Lock()
        self._left = per_second * BURST
        self._seen = clock()

    def take(self, count: int) -> float:
        """Note that so many bytes passed; returns the seconds to wait before more may."""
        with self._mutex:
            now = self._clock()
            self._left = min(self._per_second * BURST, self._left + (now - self._seen) * self._per_second)
            self._seen = now
            self._left -= count
            return max(0.0, -self._left / self._per_second)
