"""Connections that give up a server whose status line and headers trickle, and all that they wait for once they are stopped.

Each byte that trickles would put off the limit for silence.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from modelbuild.errors import Stopped
from modelbuild.interrupt import Stop

if TYPE_CHECKING:
    from urllib3 import HTTPResponse


PAUSE = 0.05
"""Seconds between two looks at what is under way."""


def pool_classes(longest: float, stop: Stop) -> dict[str, type[HTTPConnectionPool]]:
    """By scheme, pools of connections whose answers begin within so many seconds, and that raise Stopped."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            _connect(super().connect, stop)

        def request(self, method: str, url: str, body: Any = None, *arguments: Any, **named: Any) -> None:
            # Only a body can be more than a server takes in that reads nothing.
            with _Deadline(self, math.inf, stop) if body is not None else contextlib.nullcontext():
                super().request(method, url, body, *arguments, **named)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            with _Deadline(self, longest, stop):
                return super().getresponse()

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            _connect(super().connect, stop)

        def request(self, method: str, url: str, body: Any = None, *arguments: Any, **named: Any) -> None:
            # Only a body can be more than a server takes in that reads nothing.
            with _Deadline(self, math.inf, stop) if body is not None else contextlib.nullcontext():
                super().request(method, url, body, *arguments, **named)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            with _Deadline(self, longest, stop):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _connect(connect: Callable[[], None], stop: Stop) -> None:
    """Connect in a thread: a look for an address cannot be ended, so that after a stop nobody waits for it."""
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            connect()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=work, name="connect", daemon=True).start()
    while True:
        try:
            error = ended.get(timeout=PAUSE)
        except Empty:
            if stop.is_set:
                raise Stopped from None
            continue
        if error is not None:
            raise error
        return


class _Deadline:
    """Ends what a connection waits for after some seconds, or a stop. Raises TimeoutError or Stopped then, whatever had arrived."""

    def __init__(self, connection: HTTPConnection, seconds: float, stop: Stop) -> None:
        self._connection = connection
        self._seconds = seconds
        self._stop = stop
        self.at = math.inf
        self._passed = False

    def is_over(self, now: float) -> bool:
        return self.at <= now or self._stop.is_set

    def end(self) -> None:
        """End the reads and writes that are under way."""
        self._passed = True
        sock = self._connection.sock
        with contextlib.suppress(OSError):
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self.at = time.monotonic() + self._seconds
        _WATCH.add(self)

    def __exit__(self, *exception: object) -> None:
        _WATCH.remove(self)
        if self._passed:
            raise (Stopped if self._stop.is_set else TimeoutError) from None


class _Watch:
    """Looks at all deadlines in one thread: a thread for each request would take longer than a small answer."""

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
            time.sleep(PAUSE)
            now = time.monotonic()
            with self._mutex:
                passed = [each for each in self._open if each.is_over(now)]
                self._open.difference_update(passed)
                if not self._open:
                    self._some.clear()
            for each in passed:
                each.end()


_WATCH = _Watch()
