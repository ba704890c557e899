from __future__ import annotations

from collections.abc import Iterable

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.manifest import MODEL
from modelbuild.ollama.name import Name
from modelbuild.registry.repository import LARGEST, Repository
from tests.registry.clients import transport
from tests.registry.standin import Asked, Reply, Standin, digest, ranged

DATA = bytes(range(256)) * 8
DIGEST = digest(DATA)


def repository(registry: Standin) -> Repository:
    return Repository(transport(), Name.parse(f"{registry.host}/library/m"))


def fetch(repository: Repository, first: int = 0, end: int = len(DATA)) -> tuple[int, bytes]:
    answer, begins = repository.open(DIGEST, len(DATA), first, end)
    with answer:
        return begins, answer.body()


def test_a_manifest_by_its_tag_and_by_its_digest() -> None:
    with Standin() as registry:
        data = registry.add("library/m", [(MODEL, DATA)])
        assert repository(registry).manifest("latest") == data
        assert repository(registry).manifest(digest(data)) == data
        accepted = registry.asked[0].headers["accept"]
        assert "docker.distribution.manifest.v2+json" in accepted and "oci.image.manifest.v1+json" in accepted


def test_a_manifest_that_is_missing_is_said_to_be() -> None:
    with Standin() as registry, pytest.raises(Error) as caught:
        repository(registry).manifest("latest")
    assert caught.value.what == f"'library/m:latest' is not known to '{registry.host}'"
    assert ("registry", "repository name not known to registry") in caught.value.facts


@pytest.mark.parametrize("told", [digest(b"other"), None], ids=["by header", "by name"])
def test_a_manifest_of_another_digest_is_refused(told: str | None) -> None:
    reference = "latest" if told else digest(b"what was asked for")
    with Standin() as registry:
        headers = [("Docker-Content-Digest", told)] if told else []
        registry.on("GET", "/manifests/", Reply(200, b"{}", headers))
        with pytest.raises(Error, match="has another digest than it should") as caught:
            repository(registry).manifest(reference)
    assert ("got", digest(b"{}")) in caught.value.facts


def test_a_header_of_another_algorithm_says_nothing() -> None:
    with Standin() as registry:
        registry.on("GET", "/manifests/", Reply(200, b"{}", [("Docker-Content-Digest", "sha512:" + "0" * 128)]))
        assert repository(registry).manifest("latest") == b"{}"


def test_a_manifest_of_a_gigabyte_is_refused() -> None:
    with Standin() as registry:
        registry.on("GET", "/manifests/", Reply(200, [b"{"], length=1 << 30))
        with pytest.raises(Error, match="the manifest of .* is too large: 1.1 GB, expected at most 4.2 MB"):
            repository(registry).manifest("latest")
    assert LARGEST < 5 << 20


def test_a_blob_in_one_piece_and_in_parts() -> None:
    with Standin() as registry:
        registry.put(DATA)
        source = repository(registry)
        assert source.has(DIGEST) and not source.has(digest(b"another"))
        assert fetch(source) == (0, DATA)
        assert fetch(source, 100, 200) == (100, DATA[100:200])
        assert [asked.headers.get("range") for asked in registry.asked[2:]] == [None, "bytes=100-199"]


def test_a_server_without_ranges_sends_all() -> None:
    with Standin() as registry:
        registry.on("GET", "/blobs/", Reply(200, DATA))
        assert fetch(repository(registry), 100, 200) == (0, DATA)


@pytest.mark.parametrize("gone", [400, 403, 410])
def test_a_link_to_a_storage_is_used_until_it_expires(gone: int) -> None:
    with Standin() as registry, Standin() as storage:
        left = iter(range(10))
        registry.on("GET", "/blobs/", lambda asked: Reply(307, headers=[("Location", f"{storage.url}/{next(left)}")]))
        storage.on("GET", "/0", lambda asked: ranged(asked, DATA), lambda asked: ranged(asked, DATA), Reply(gone))
        storage.on("GET", "/1", lambda asked: ranged(asked, DATA))
        source = repository(registry)
        for first in (0, 10, 20, 30):
            assert fetch(source, first, first + 5) == (first, DATA[first : first + 5])
        assert len(registry.asked) == 2
        assert storage.paths() == ["/0", "/0", "/0", "/1", "/1"]


def test_a_storage_that_refuses_at_once_is_an_error() -> None:
    with Standin() as registry, Standin() as storage:
        registry.on("GET", "/blobs/", Reply(307, headers=[("Location", f"{storage.url}/x?signature=secret")]))
        storage.on("GET", "/x", Reply(403))
        with pytest.raises(Error, match="access denied") as caught:
            fetch(repository(registry))
    assert storage.host in caught.value.what and "secret" not in str(caught.value)


def test_a_storage_that_is_gone_is_asked_for_anew() -> None:
    with Standin() as registry, Standin() as storage:
        with Standin() as former:
            former.on("GET", "/x", lambda asked: ranged(asked, DATA))
            urls = iter([f"{former.url}/x", f"{storage.url}/x"])
            registry.on("GET", "/blobs/", lambda asked: Reply(302, headers=[("Location", next(urls))]))
            source = repository(registry)
            assert fetch(source, 0, 5) == (0, DATA[:5])
        source.transport.close()
        storage.on("GET", "/x", lambda asked: ranged(asked, DATA))
        assert fetch(source, 5, 9) == (5, DATA[5:9])


SIZE = len(DATA)


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (206, [("Content-Range", f"bytes 100-199/{SIZE + 1}")], "another size"),
        (206, [("Content-Range", f"bytes 101-199/{SIZE}")], "another range"),
        (206, [("Content-Range", f"bytes 100-200/{SIZE}")], "another range"),
        (206, [("Content-Range", "bytes 100-199/" + "9" * 30)], "another range"),
        (206, [], "another range"),
        (200, [], "another size"),
        (416, [], "another size"),
        (404, [], "is not known"),
        (206, [("Content-Range", f"bytes 100-199/{SIZE}"), ("Content-Encoding", "gzip")], "compressed"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    status: int, headers: list[tuple[str, str]], told: str
) -> None:
    with Standin() as registry:
        registry.on("GET", "/blobs/", Reply(status, DATA[100:200], headers))
        with pytest.raises(Error, match=told) as caught:
            fetch(repository(registry), 100, 200)
    assert caught.value.hint


def test_a_size_that_is_not_told_is_not_missed() -> None:
    def pieces() -> Iterable[bytes]:
        yield DATA

    def part(asked: Asked) -> Reply:
        return Reply(206, DATA[100:200], [("Content-Range", "bytes 100-199/*")])

    with Standin() as registry:
        registry.on("GET", "/blobs/", lambda asked: Reply(200, pieces(), length=-1), part)
        source = repository(registry)
        assert fetch(source) == (0, DATA)
        assert fetch(source, 100, 200) == (100, DATA[100:200])
