"""Connections that give up a server whose status line and headers trickle: each byte of them would put off the limit for silence."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from urllib3 import HTTPResponse


def pool_classes(longest: float) -> dict[str, type[HTTPConnectionPool]]:
    """By scheme, pools of connections whose answers begin within so many seconds."""

    class Plain(HTTPConnection):
        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            with _Deadline(self.sock, longest):
                return super().getresponse()

    class Secure(HTTPSConnection):
        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            with _Deadline(self.sock, longest):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _Deadline:
    """Ends the reads of a socket after some seconds. Raises TimeoutError then, whatever was made of what had arrived."""

    def __init__(self, sock: Any, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self.at = math.inf
        self._passed = False

    def end(self) -> None:
        """End the reads that are under way."""
        self._passed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self.at = time.monotonic() + self._seconds
        _WATCH.add(self)

    def __exit__(self, *exception: object) -> None:
        _WATCH.remove(self)
        if self._passed:
            raise TimeoutError from None


class _Watch:
    """Looks at all deadlines in one thread: a thread for each request would take longer than a small answer."""

    PAUSE = 0.05
    """Seconds between two looks."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._open: set[_Deadline] = set()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, deadline: _Deadline) -> None:
        with self._mutex:
            self._open.add(deadline)
            # After a fork the thread is only in the parent.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="deadlines", daemon=True)
                self._thread.start()
            if not self._some.is_set():
                self._some.set()

    def remove(self, deadline: _Deadline) -> None:
        with self._mutex:
            self._open.discard(deadline)

    def _look(self) -> None:
        while self._some.wait():
            time.sleep(self.PAUSE)
            now = time.monotonic()
            with self._mutex:
                passed = [each for each in self._open if each.at <= now]
                self._open.difference_update(passed)
                if not self._open:
                    self._some.clear()
            for each in passed:
                each.end()


_WATCH = _Watch()
