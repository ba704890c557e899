"""The client of Ollama's API, against a stand-in; and what a server may answer that is not Ollama's."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama import api
from modelbuild.ollama.api import Address, Client, Refused, address
from tests.ollama.stand_in import serving


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("example.com", "http://example.com:11434"),
        (" 'example.com:80' ", "http://example.com:80"),
        ("http://example.com", "http://example.com:80"),
        ("https://example.com/ollama/", "https://example.com:443/ollama"),
        ("[::1]:7", "http://[::1]:7"),
        ("http://[::]", "http://[::1]:80"),
    ],
)
def test_an_address_as_ollama_reads_it(text: str, expected: str) -> None:
    assert str(address(text)) == expected


@pytest.mark.parametrize("text", ["ftp://x", "x:99999", "x:port", "http://me:s3cret@host", "a b"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Error) as caught:
        address(text)
    assert "s3cret" not in str(caught.value)


def test_blobs_are_sent_whole_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (3 * api.CHUNK + 5))
    digest = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    sent: list[int] = []
    with serving(tmp_path / "server") as (stand_in, url):
        client = Client(address(url))
        assert client.version() == (0, 34, 1) and client.listed() == {}
        assert not client.has_blob(digest)
        client.put_blob(digest, str(file), sent.append)
        assert client.has_blob(digest) and stand_in.blob(digest).read_bytes() == file.read_bytes()
        assert sum(sent) == file.stat().st_size and len(sent) == 4
        with pytest.raises(Refused, match="digest mismatch"):
            client.put_blob("sha256:" + "0" * 64, str(file), sent.append)


def test_a_stream_and_its_end(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as (stand_in, url):
        events = list(Client(address(url)).stream("/api/chat", {"model": "m"}))
        assert [event["message"]["content"] for event in events] == ["", "Once ", "upon.", ""]
        with pytest.raises(Refused, match="not found") as caught:
            list(Client(address(url)).stream("/api/nothing", {}))
        assert caught.value.status == 404
        stand_in.refuses = "no such adapter"
        with pytest.raises(Refused, match="no such adapter"):
            list(Client(address(url)).stream("/api/create", {}))


def test_a_stream_is_stopped_and_the_server_sees_it(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as (stand_in, url):
        stand_in.endless = True
        stops: list[api.Stop] = []
        count = 0
        for _ in Client(address(url)).stream("/api/chat", {}, stops.append):
            count += 1
            if count == 5:
                stops[0]()
        assert count >= 5 and stand_in.gone.wait(60)


def test_a_stream_that_is_stopped_within_a_line_has_ended() -> None:
    line = b'{"done": false}\n'
    with saying(b"HTTP/1.1 200 OK\r\n\r\n" + line + line[:5]) as client:
        stops: list[api.Stop] = []
        events = client.stream("/api/chat", {}, stops.append)
        assert next(events) == {"done": False}
        stops[0]()
        assert list(events) == []
    with (
        saying(b"HTTP/1.1 200 OK\r\n\r\n" + line[:5]) as client,
        pytest.raises(Error, match="does not answer|no answer"),
    ):
        list(client.stream("/api/chat", {}))


@contextmanager
def saying(answer: bytes) -> Iterator[Client]:
    """A server that gives one answer to whatever it is asked."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Client(Address("http", "127.0.0.1", listening.getsockname()[1]))
    finally:
        thread.join(60)
        listening.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"version":', b'{"other": 1}', b"[" * 100_000, b"\xff"],
)
def test_a_server_that_is_not_ollama(body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with saying(head + body) as client, pytest.raises(Error, match="is not Ollama|as Ollama does"):
        client.version()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_an_answer_that_is_cut(answer: bytes) -> None:
    with saying(answer) as client, pytest.raises(Error):
        client.version()


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Error, match="no answer from the Ollama server"):
        Client(Address("http", "127.0.0.1", port)).version()


def test_what_a_proxy_says_is_told() -> None:
    with (
        saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops") as client,
        pytest.raises(Refused, match="HTTP status 502 Bad Gateway"),
    ):
        client.listed()
