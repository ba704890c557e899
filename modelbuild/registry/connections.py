"""Connections that give up a server whose status line and headers trickle: each byte of them would put off the limit for silence."""

from __future__ import annotations

import contextlib
import socket
import threading
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
        self._passed = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self._passed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        if self._passed:
            raise TimeoutError from None
