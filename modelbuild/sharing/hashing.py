"""The sha256 of what arrives, taken in a thread of its own: receiving, hashing and writing go on at the same time."""

from __future__ import annotations

import hashlib
import queue
import threading

AHEAD = 16
"""Pieces that may wait to be hashed."""

LATER = 4 << 20
"""Bytes from which on a thread is worth its start."""


class Hashing:
    """A running sha256; within a `with` block, which ends its thread."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._count = 0
        self._waiting: queue.Queue[bytes | None] = queue.Queue(AHEAD)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Hashing:
        return self

    def update(self, data: bytes) -> None:
        self._count += len(data)
        if self._thread is not None:
            self._waiting.put(data)
            return
        self._sha.update(data)
        if self._count >= LATER:
            self._thread = threading.Thread(target=self._work, name="sha256", daemon=True)
            self._thread.start()

    def digest(self) -> str:
        """`sha256:` and 64 hex digits, of all that was given."""
        self._end()
        return "sha256:" + self._sha.hexdigest()

    def __exit__(self, *_: object) -> None:
        self._end()

    def _work(self) -> None:
        while (data := self._waiting.get()) is not None:
            self._sha.update(data)

    def _end(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
