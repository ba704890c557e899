"""The wire between us and a server: it fails once so many pieces have passed, wherever in a piece that is."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 32 << 10
"""Bytes that pass at once, at most."""

BUSY = b"HTTP/1.1 %d Busy\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n"
_METHODS = (b"GET ", b"HEAD ", b"PUT ", b"POST ", b"DELETE ")


class Wire:
    """Takes connections to a port of its own on to a server.

    fault    what happens from the piece of number `at` on
             dies      no connection any more
             restarts  none for a moment
             stalls    nothing passes any more
             cuts      this connection ends in the middle of a piece, and so do others later
             flips     a bit of this piece is another one, and of others later
             busy      a moment of 429 and 503
    passed   pieces so far, in both directions
    hit      whether the fault happened
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._mutex = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_up = True
        self.clear()
        threading.Thread(target=self._accept, daemon=True).start()

    def clear(self) -> None:
        """Be whole again, and count anew."""
        self.fault, self.at, self.passed, self.hit, self._until = "", 0, 0, False, 0.0
        self._chosen = random.Random(0)
        self._drop()

    def fail(self, fault: str, at: int, seed: int) -> None:
        self.clear()
        self._chosen = random.Random(seed)
        self.fault, self.at = fault, at

    def close(self) -> None:
        self._is_up = False
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        with self._mutex:
            while self._open:
                _reset(self._open.pop())

    def _accept(self) -> None:
        while self._is_up:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_down():
                _reset(client)
                continue
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            _reset(client)
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._mutex:
            self._open |= {client, server}
        threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
        self._pump(client, server)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                passing = self._spoiled(data, source)
                if passing:
                    target.sendall(passing)
                if passing is None:
                    break
        with self._mutex:
            self._open -= {source, target}
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _is_down(self) -> bool:
        return self.hit and (self.fault == "dies" or self.fault == "restarts" and time.monotonic() < self._until)

    def _spoiled(self, data: bytes, source: socket.socket) -> bytes | None:
        """What passes of a piece; None if the connection ends here."""
        with self._mutex:
            self.passed += 1
            if not self.fault or self.passed <= self.at:
                return data
            if not self.hit:
                self.hit, self._until = True, time.monotonic() + 0.15
            elif self.fault in ("cuts", "flips") and self._chosen.random() < 0.8:
                return data
            place = self._chosen.randrange(len(data))
            bit = 1 << self._chosen.randrange(8)
            status = self._chosen.choice([429, 503])
            told = self._chosen.choice([b"", b"Retry-After: 0\r\n", b"Retry-After: 1\r\n", b"Retry-After: 3600\r\n"])
        if self.fault == "cuts":
            with suppress(OSError):
                source.shutdown(socket.SHUT_RD)
            return data[:place]
        if self.fault == "flips":
            return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
        if self.fault == "stalls":
            return b""
        if self.fault == "busy":
            if time.monotonic() > self._until or not data.startswith(_METHODS):
                return data
            source.sendall(BUSY % (status, told))
            return None
        if self._is_down():
            self._drop()
            return None
        return data


def _reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # What waits in another thread hears of it.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    made = Wire(port)
    try:
        yield made
    finally:
        made.close()
