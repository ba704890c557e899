"""What is dealt with together with others, so that the disk or the database is waited for once."""

from __future__ import annotations

import time
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST = 256
"""Things of one batch."""

SOON = 0.2
"""Seconds that a thing waits for others while there is more to do."""


class Batch(Generic[K, V]):
    """Things that wait: until there are enough of them, for a while, or until there is nothing else to do."""

    def __init__(self) -> None:
        self._waiting: dict[K, V] = {}
        self._since = 0.0

    def add(self, key: K, value: V) -> bool:
        """Returns whether it is time to deal with all of them."""
        now = time.monotonic()
        if not self._waiting:
            self._since = now
        self._waiting[key] = value
        return len(self._waiting) >= MOST or now - self._since >= SOON

    def take(self) -> dict[K, V]:
        taken, self._waiting = self._waiting, {}
        return taken
