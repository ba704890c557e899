"""All remotes by the same cases: what is put is there, whole, for everybody."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild import remotes
from modelbuild.errors import Error, Stopped
from modelbuild.remotes import BLOBS, RECORDS, Missing, Remote
from tests.remotes.buckets import bucket
from tests.remotes.webdav import serving

DATA = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "http", pytest.param("s3", marks=pytest.mark.peer)])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    if request.param == "folder":
        (tmp_path / "a share").mkdir()
        yield remotes.connect(f"file://{tmp_path}/a%20share")
        return
    if request.param == "s3":
        with bucket() as url:
            yield remotes.connect(url)
        return
    with serving() as server:
        found = remotes.connect(server.url)
        yield found
        found.close()


def test_what_is_put_is_there_in_its_kind(remote: Remote) -> None:
    assert remote.size(BLOBS, DIGEST) is None
    remote.put(BLOBS, DIGEST, len(DATA), lambda: [DATA[:1000], DATA[1000:]])
    assert remote.size(BLOBS, DIGEST) == len(DATA)
    assert b"".join(remote.get(BLOBS, DIGEST)) == DATA
    assert remote.size(RECORDS, DIGEST) is None
    with pytest.raises(Missing):
        list(remote.get(RECORDS, DIGEST))


@pytest.mark.parametrize(("start", "length"), [(0, 10), (5, 1), (1000, None), (100, 1_270_000), (len(DATA) - 3, 3)])
def test_a_range_is_a_part(remote: Remote, start: int, length: int | None) -> None:
    remote.put(BLOBS, DIGEST, len(DATA), lambda: [DATA])
    end = None if length is None else start + length
    assert b"".join(remote.get(BLOBS, DIGEST, start, length)) == DATA[start:end]


def test_what_is_put_again_is_replaced(remote: Remote) -> None:
    remote.put(RECORDS, DIGEST, 3, lambda: [b"old"])
    remote.put(RECORDS, DIGEST, 3, lambda: [b"new"])
    assert b"".join(remote.get(RECORDS, DIGEST)) == b"new"


def test_what_breaks_while_it_is_put_is_not_there(remote: Remote) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA[:1000]
        raise Stopped

    with pytest.raises((Stopped, Error)):
        remote.put(BLOBS, DIGEST, len(DATA), broken)
    assert remote.size(BLOBS, DIGEST) is None


def test_nothing_goes_on_after_a_stop(remote: Remote) -> None:
    remote.put(BLOBS, DIGEST, len(DATA), lambda: [DATA])
    remote.stop()
    with pytest.raises(Stopped):
        list(remote.get(BLOBS, DIGEST))


@pytest.mark.parametrize("verb", ["size", "get", "put"])
@pytest.mark.parametrize("scheme", ["http", pytest.param("s3", marks=pytest.mark.peer)])
def test_a_stop_ends_what_waits_for_a_server_that_says_nothing(
    scheme: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if scheme == "s3":
            pytest.importorskip("obstore")
            for name, value in {
                "ENDPOINT_URL": url,
                "ACCESS_KEY_ID": "a",
                "SECRET_ACCESS_KEY": "b",
                "REGION": "c",
            }.items():
                monkeypatch.setenv(f"AWS_{name}", value)
        remote = remotes.connect(url if scheme == "http" else "s3://bucket/prefix")
        # More than a socket takes in that nobody reads.
        size = 64 << 20 if scheme == "http" else 1000
        ask = {
            "size": lambda: remote.size(BLOBS, DIGEST),
            "get": lambda: list(remote.get(BLOBS, DIGEST)),
            "put": lambda: remote.put(BLOBS, DIGEST, size, lambda: [bytes(size)]),
        }[verb]
        threading.Timer(0.1, remote.stop).start()
        begun = time.monotonic()
        with pytest.raises(Stopped):
            ask()
        assert time.monotonic() - begun < 2
        remote.close()


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "a" * 63, ""])
def test_only_digests_are_names(remote: Remote, name: str) -> None:
    with pytest.raises(AssertionError):
        remote.size(BLOBS, name)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/path", "beginning with file://, https://, http://, s3://"),
        ("/mnt/share", "a folder is written as file:///"),
        ("file://host/path", "is not the URL of a folder"),
        ("file:///", "is not the URL of a folder"),
        ("file:///path?x=1", "is not the URL of a folder"),
        ("https://user:secret@host/path", "contains a user or password"),
        ("https://host/path?token=secret", "contains a query"),
        ("https://", "has no host"),
        ("//user:secret@host/path", "one with a user"),
        ("file://user:secret@host/path", "'file://host/path' is not the URL of a folder"),
        ("file:///path?token=secret", "is not the URL of a folder"),
        ("https://user:secret@[", "no host that can be one"),
        ("https://h\u2100:secret@", "no host that can be one"),
        ("s3://[secret", "no host that can be one"),
    ],
)
def test_a_url_that_cannot_be_is_an_error_without_its_secrets(url: str, said: str) -> None:
    with pytest.raises(Error) as caught:
        remotes.connect(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
