"""The remote in a bucket: files of several parts, and what is said without obstore."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from modelbuild.errors import Error
from modelbuild.remotes import BLOBS, s3
from tests.remotes.buckets import bucket


def test_without_obstore_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(Error, match="needs the package obstore"):
        s3.connect("s3://bucket/prefix")


@pytest.mark.parametrize("url", ["s3:///prefix", "s3://key:secret@bucket/prefix", "s3://bucket/prefix?secret=1"])
def test_a_url_names_a_bucket_and_no_secret(url: str) -> None:
    with pytest.raises(Error, match="expects a bucket and a prefix") as caught:
        s3.connect(url)
    assert "secret" not in str(caught.value)


def done(data: bytes) -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_result(data)
    return future


def test_a_size_that_no_file_has_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    remote = s3.Bucket("s3://bucket", None)
    monkeypatch.setattr(remote, "size", lambda kind, digest: 1 << 62)
    monkeypatch.setattr(remote, "_range", lambda name, start, end: done(b"%d" % start))
    pieces = remote.get(BLOBS, "a" * 64)
    assert [next(pieces), next(pieces)] == [b"0", b"%d" % s3.PART]
    pieces.close()


@pytest.mark.peer
def test_a_large_file_goes_in_parts_and_none_of_it_stays_if_it_breaks() -> None:
    data = bytes(range(256)) * (100 << 10)
    digest = hashlib.sha256(data).hexdigest()

    def pieces(until: int) -> Iterator[bytes]:
        for at in range(0, until, 1 << 20):
            yield data[at : at + (1 << 20)]
        if until < len(data):
            raise Error("the artifact is damaged")

    with bucket() as url:
        remote = s3.connect(url)
        with pytest.raises(Error, match="the artifact is damaged"):
            remote.put(BLOBS, digest, len(data), lambda: pieces(20 << 20))
        assert remote.size(BLOBS, digest) is None
        remote.put(BLOBS, digest, len(data), lambda: pieces(len(data)))
        assert b"".join(remote.get(BLOBS, digest)) == data
        assert b"".join(remote.get(BLOBS, digest, 5, 20 << 20)) == data[5 : 5 + (20 << 20)]


def test_what_is_wrong_with_the_bytes_is_no_fault_of_the_bucket() -> None:
    stores = pytest.importorskip("obstore.store")
    remote = s3.Bucket("s3://bucket", stores.MemoryStore())

    def pieces() -> Iterator[bytes]:
        yield bytes(s3.PART)
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(FileNotFoundError):
        remote.put(BLOBS, "a" * 64, 2 * s3.PART, pieces)
    remote.close()


@pytest.mark.peer
def test_a_bucket_that_is_not_there_is_no_empty_one() -> None:
    digest = "a" * 64
    with bucket() as url:
        assert s3.connect(url).size(BLOBS, digest) is None
        other = "s3://builds-gone/prefix"
        for ask in (
            lambda: s3.connect(other).size(BLOBS, digest),
            lambda: list(s3.connect(other).get(BLOBS, digest)),
            lambda: s3.connect(other).put(BLOBS, digest, 1, lambda: [b"a"]),
        ):
            with pytest.raises(Error, match="the bucket 'builds-gone' of .* is not there"):
                ask()
