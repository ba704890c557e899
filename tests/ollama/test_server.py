"""Where the server of this machine is, and what it lists: answers that are right, wrong, endless, late or none."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from modelbuild.ollama import server
from modelbuild.ollama.server import Address, address, listed

TAGS = {"models": [{"name": "chat:latest", "digest": "abc"}, {"name": "Me/Mine:q4", "digest": "def"}]}


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, "127.0.0.1:11434"),
        ("", "127.0.0.1:11434"),
        (" '127.0.0.1:1234' ", "127.0.0.1:1234"),
        ("0.0.0.0", "127.0.0.1:11434"),
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("localhost", "127.0.0.1:11434"),
        ("LOCALHOST:1", "127.0.0.1:1"),
        (":56789", "127.0.0.1:56789"),
        ("127.0.0.1:", "127.0.0.1:11434"),
        ("127.0.0.1:99999", "127.0.0.1:11434"),
        ("127.0.0.1:-1", "127.0.0.1:11434"),
        ("127.0.0.1:x", "127.0.0.1:11434"),
        ("http://127.0.0.1", "127.0.0.1:80"),
        ("http://127.0.0.1:11434/ollama", "127.0.0.1:11434"),
        ("127.0.0.2", "127.0.0.2:11434"),
        ("[::1]", "[::1]:11434"),
        ("::1", "[::1]:11434"),
        ("[::1]:1234", "[::1]:1234"),
        ("[::]:1234", "[::1]:1234"),
        ("https://127.0.0.1", None),
        ("192.168.1.2:11434", None),
        ("example.com", None),
        ("127.0.0.1.example.com", None),
        ("fe80::1%eth0", None),
    ],
)
def test_only_an_address_of_this_machine_is_asked(variable: str | None, expected: str | None) -> None:
    found = address(variable)
    assert (str(found) if found else None) == expected


Serve = Callable[[Callable[[socket.socket], None]], Address]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that does with its first connection what it is told."""
    sockets: list[socket.socket] = []

    def start(answer: Callable[[socket.socket], None]) -> Address:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def run() -> None:
            try:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    answer(connection)
            except OSError:
                pass

        threading.Thread(target=run, daemon=True).start()
        return Address("127.0.0.1", listening.getsockname()[1])

    yield start
    for each in sockets:
        each.close()


def answered(body: bytes, head: bytes = b"HTTP/1.0 200 OK\r\n\r\n") -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(head + body)


def test_names_and_digests(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert listed(serve(answered(json.dumps(TAGS).encode()))) == {"chat:latest": "abc", "me/mine:q4": "def"}
    assert listed(serve(answered(b'{"models": null}'))) == {}


def test_a_connection_that_stays_open_is_not_waited_for(serve: Serve) -> None:
    body = json.dumps(TAGS).encode()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(1)

    begun = time.monotonic()
    assert listed(serve(answer)) is not None
    assert time.monotonic() - begun < 0.9


@pytest.mark.parametrize(
    "answer",
    [
        answered(b""),
        answered(b"not JSON"),
        answered(b"[]"),
        answered(b"{}"),
        answered(b'{"models": 1}'),
        answered(b'{"models": [1]}'),
        answered(b'{"models": [{}]}'),
        answered(b"[" * 200_000),
        answered(b"9" * 10_000),
        answered(b"\xff\xfe"),
        answered(b"{}", b"HTTP/1.0 404 Not Found\r\n\r\n"),
        answered(b"", b"SSH-2.0-OpenSSH\r\n"),
        answered(b"{}", b"\r\n\r\n"),
        answered(b"", b"HTTP/1.0 200 OK\r\n"),
        answered(b'{"models": []}', b"HTTP/1.0 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
    ],
)  # fmt: skip
def test_whatever_else_is_answered_says_nothing(serve: Serve, answer: Callable[[socket.socket], None]) -> None:
    assert listed(serve(answer)) in (None, {})


def test_late_and_endless_answers_cost_a_moment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        for _ in range(100):
            connection.sendall(b" ")
            time.sleep(0.02)

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    for answer in (trickle, flood, lambda connection: time.sleep(2)):
        begun = time.monotonic()
        assert listed(serve(answer)) is None
        assert time.monotonic() - begun < 5 * server.PATIENCE
    monkeypatch.setattr(server, "LARGEST", 1 << 16)
    assert listed(serve(flood)) is None


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert listed(Address("127.0.0.1", port)) is None
