from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.errors import Stopped
from modelbuild.registry.faults import Unreachable
from tests.registry import certificates
from tests.registry.clients import QUICK, transport

PATIENCE = QUICK._replace(tries=1, unheard=1, longest=0.3)


@contextlib.contextmanager
def trickling(begin: bytes, drop: bytes, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that answers with some bytes, and then with one at a time for a minute; its host and port."""
    ended = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            with context.wrap_socket(client, server_side=True) if context else client as answering:
                answering.recv(1 << 16)
                answering.sendall(begin)
                while not ended.wait(0.02):
                    answering.sendall(drop)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
    thread.join(10)


@pytest.mark.parametrize(
    ("begin", "drop"),
    [(b"", b"H"), (b"HTTP/1.1 200 OK\r\n", b"x"), (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", b"a: b\r\n")],
)
def test_headers_that_trickle_are_given_up(begin: bytes, drop: bytes) -> None:
    with trickling(begin, drop) as host, pytest.raises(Unreachable, match="stopped answering"):
        started = time.monotonic()
        try:
            transport(patience=PATIENCE).request("GET", f"http://{host}/v2/")
        finally:
            assert time.monotonic() - started < 10


def test_also_by_tls(tmp_path: Path) -> None:
    file, context = certificates.make(tmp_path)
    with trickling(b"HTTP/1.1 200 OK\r\n", b"x", context) as host, pytest.raises(Unreachable, match="stopped"):
        transport(patience=PATIENCE, ca_file=str(file)).request("GET", f"https://{host}/v2/")


def test_a_body_may_take_longer() -> None:
    begin = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n"
    with (
        trickling(begin, b"x") as host,
        transport(patience=PATIENCE).request("GET", f"http://{host}/v2/") as answer,
    ):
        assert b"".join(answer.pieces()) == b"x" * 40


def test_a_stop_ends_a_look_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that says nothing keeps the system waiting for half a minute."""
    looked, ended = threading.Event(), threading.Event()

    def look(*arguments: object, **named: object) -> None:
        looked.set()
        ended.wait(30)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    client = transport(patience=PATIENCE)
    threading.Thread(target=lambda: looked.wait(10) and client.stop(), daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(Stopped):
        client.request("GET", "http://127.0.0.1:1/v2/")
    assert time.monotonic() - begun < 5
    ended.set()
