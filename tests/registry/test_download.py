from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.registry import download as module
from modelbuild.registry.download import Download
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.partial import Blob, Partial
from modelbuild.registry.repository import Repository
from tests.registry.clients import QUICK, transport
from tests.registry.standin import Asked, Reply, Standin, digest, ranged

PART = 1 << 16
DATA = random.Random(5).randbytes(10 * PART + 123)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", PART)
    monkeypatch.setattr(module, "NOTED", PART // 4)


def fetch(registry: Standin, folder: Path, *blobs: bytes, sizes: int | None = None, **options: Any) -> Download:
    """Download blobs, and compare what came with them."""
    repository = Repository(transport(**options), Name.parse(f"{registry.host}/library/m"))
    events: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        wanted = [Blob(digest(blob), sizes or len(blob)) for blob in blobs]
        partials = [stack.enter_context(Partial(str(folder), each)) for each in wanted]
        download = Download(repository, partials, events.append)
        download.run()
        for blob, partial in zip(blobs, partials, strict=True):
            assert Path(partial.path).read_bytes() == blob
    dones = [event["done"] for event in events if event["event"] == "progress"]
    assert dones == [] or max(dones) == sum(map(len, blobs))
    return download


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_several_blobs_in_parts(tmp_path: Path) -> None:
    blobs = [DATA, b"", b"small", DATA[::-1]]
    with Standin() as registry:
        for blob in blobs:
            registry.put(blob)
        assert fetch(registry, tmp_path, *blobs).received == sum(map(len, blobs))
        parts = [asked for asked in registry.asked if asked.range]
        assert len(parts) == 22 and not any(asked.path.endswith(digest(b"")) for asked in registry.asked)
        # Connections are used again.
        assert registry.connections <= module.CONNECTIONS


def test_a_server_without_ranges_is_asked_once(tmp_path: Path) -> None:
    with Standin() as registry:
        registry.on("GET", "/blobs/", Reply(200, DATA))
        fetch(registry, tmp_path, DATA)
        assert len(registry.asked) == 1


def test_what_breaks_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Each answer is cut after some bytes; none of those is asked for again."""
    chance = random.Random(11)
    sent = 0

    def cut(asked: Asked) -> Reply:
        nonlocal sent
        reply = ranged(asked, DATA)
        assert isinstance(reply.body, bytes)
        count = len(reply.body) if chance.random() < 0.4 else chance.randrange(len(reply.body))
        sent += count
        return Reply(reply.status, reply.body[:count], reply.headers, len(reply.body))

    with Standin() as registry:
        registry.on("GET", "/blobs/", cut)
        download = fetch(registry, tmp_path, DATA, patience=QUICK._replace(tries=50))
        assert download.received == len(DATA) == sent


def test_a_stream_that_breaks_goes_on_without_ranges(tmp_path: Path) -> None:
    lengths = iter([10, PART, len(DATA) // 2, len(DATA)])

    def cut(asked: Asked) -> Reply:
        return Reply(200, DATA[: next(lengths)], length=len(DATA))

    with Standin() as registry:
        registry.on("GET", "/blobs/", cut)
        assert fetch(registry, tmp_path, DATA).received == len(DATA)


def test_a_server_that_always_breaks_is_given_up_and_the_rest_is_kept(tmp_path: Path) -> None:
    def cut(asked: Asked) -> Reply:
        reply = ranged(asked, DATA)
        assert isinstance(reply.body, bytes)
        return Reply(reply.status, reply.body[:100], reply.headers, len(reply.body))

    with Standin() as registry:
        registry.on("GET", "/blobs/", cut)
        with pytest.raises(Unreachable, match="broke"):
            fetch(registry, tmp_path, DATA)
        registry.script.clear()
        registry.put(DATA)
        assert fetch(registry, tmp_path, DATA).received <= len(DATA) - 100


@pytest.mark.parametrize("is_ranged", [True, False])
def test_a_wrong_blob_is_removed(tmp_path: Path, is_ranged: bool) -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with Standin() as registry:
        registry.on("GET", "/blobs/", lambda asked: ranged(asked, wrong) if is_ranged else Reply(200, wrong))
        with pytest.raises(Error, match="has another digest than the manifest says; it was removed") as caught:
            fetch(registry, tmp_path, DATA)
    assert ("blob", digest(DATA)) in caught.value.facts
    assert left(tmp_path) == []


def test_what_an_earlier_run_left_damaged_is_fetched_again(tmp_path: Path) -> None:
    blob = Blob(digest(DATA), len(DATA))
    with Partial(str(tmp_path), blob) as partial:
        partial.write(0, bytes(PART))
        partial.note(0, PART)
    with Standin() as registry:
        registry.put(DATA)
        assert fetch(registry, tmp_path, DATA).received == 2 * len(DATA) - PART


def test_a_whole_file_that_an_earlier_run_left_is_only_checked(tmp_path: Path) -> None:
    with Partial(str(tmp_path), Blob(digest(DATA), len(DATA))) as partial:
        partial.write(0, DATA)
        partial.note(0, len(DATA))
    with Standin() as registry:
        assert fetch(registry, tmp_path, DATA).received == 0
        assert registry.asked == []


def test_a_size_that_the_manifest_got_wrong_is_an_error(tmp_path: Path) -> None:
    with Standin() as registry:
        registry.put(DATA)
        for size in (len(DATA) - 1, len(DATA) + 1, PART // 2):
            with pytest.raises(Error, match="has another size than the manifest says"):
                fetch(registry, tmp_path, DATA, sizes=size)


def test_a_body_that_is_longer_than_it_should_be_is_not_believed(tmp_path: Path) -> None:
    def longer(asked: Asked) -> Reply:
        return Reply(200, [DATA, b"more"], length=-1)

    with Standin() as registry:
        registry.on("GET", "/blobs/", longer)
        fetch(registry, tmp_path, DATA)


def test_one_error_ends_all_connections(tmp_path: Path) -> None:
    hold = threading.Event()

    def silent() -> Iterable[bytes]:
        yield b"x"
        hold.wait(60)

    with Standin() as registry:
        registry.on("GET", digest(b"small"), Reply(404))
        registry.on("GET", digest(DATA), lambda asked: Reply(200, silent(), length=len(DATA)))
        with pytest.raises(Error, match="is not known"):
            fetch(registry, tmp_path, DATA, b"small")
        hold.set()


def test_a_disk_that_refuses_is_told_as_the_system_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Partial, start: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Partial, "write", full)
    with Standin() as registry:
        registry.put(DATA)
        with pytest.raises(OSError, match="No space left"):
            fetch(registry, tmp_path, DATA)
