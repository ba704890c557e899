"""Files past the page cache hold the same bytes as others, also where the file system refuses. That they bypass it is tested with a build,
in tests/e2e/test_page_cache.py."""

from __future__ import annotations

import errno
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild import direct, page_cache
from modelbuild.direct import BLOCK, WINDOW, Growing, Passing, room

WHOLE = 3 * BLOCK
DATA = random.Random(1).randbytes(10 * BLOCK + 100)

refused = OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _refused(call: Callable[..., int], modes: list[bool]) -> Callable[..., int]:
    """The system's call, which refuses what goes past the cache."""

    def refuse(file: int, *rest: Any) -> int:
        modes.append(_is_direct(file))
        if modes[-1]:
            raise refused
        return call(file, *rest)

    return refuse


def _is_direct(file: int) -> bool:
    import fcntl

    return bool(fcntl.fcntl(file, fcntl.F_GETFL) & getattr(os, "O_DIRECT", 0))


def _none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that knows of no such way, as macOS."""
    monkeypatch.delattr(os, "O_DIRECT", raising=False)


def _never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes the flag, and refuses every read and write with it."""
    monkeypatch.setattr(os, "pwrite", _refused(os.pwrite, []))
    monkeypatch.setattr(os, "preadv", _refused(os.preadv, []))


def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this one does."""


@pytest.fixture(params=[_usual, _none, _never])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    request.param(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, WHOLE, WHOLE + 1, len(DATA)])
@pytest.mark.parametrize("step", [1000, BLOCK, 100_000])
def test_what_is_written_in_parts_is_the_file(system: None, tmp_path: Path, file: int, size: int, step: int) -> None:
    with Growing(file, WHOLE) as growing:
        for at in range(0, size, step):
            growing.write(DATA[at : min(at + step, size)])
        growing.finish()
    assert (tmp_path / "file").read_bytes() == DATA[:size]
    assert not _is_direct(file)


@pytest.mark.parametrize("short", [BLOCK, 100])
def test_a_write_that_stops_short_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: int, short: int
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:short], at))
    with Growing(file, WHOLE) as growing:
        growing.write(DATA)
        growing.finish()
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_fault_of_the_writing_thread_is_raised(monkeypatch: pytest.MonkeyPatch, file: int) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with Growing(file, BLOCK) as growing, pytest.raises(OSError, match="No space left"):
        growing.write(DATA)
    with Growing(file, WHOLE) as growing:
        growing.write(DATA[:WHOLE])
        with pytest.raises(OSError, match="No space left"):
            growing.finish()


def test_what_is_behind_bytes_that_could_not_be_written_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: int
) -> None:
    pwrite = os.pwrite

    def faulty(file: int, data: bytes, at: int) -> int:
        if at == BLOCK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(file, data, at)

    monkeypatch.setattr(os, "pwrite", faulty)
    with Growing(file, BLOCK) as growing:
        with pytest.raises(OSError, match="No space left"):
            growing.write(DATA[: 4 * BLOCK])
        with pytest.raises(OSError, match="No space left"):
            growing.finish()
        assert growing.written == BLOCK
    assert (tmp_path / "file").read_bytes()[2 * BLOCK : 3 * BLOCK] == DATA[2 * BLOCK : 3 * BLOCK]


def test_a_growing_file_is_forgotten_window_by_window(monkeypatch: pytest.MonkeyPatch, file: int) -> None:
    told: list[tuple[int, int, int]] = []
    monkeypatch.setattr(page_cache, "forget", lambda file, offset, length: told.append((file, offset, length)))
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: len(data))
    part = bytes(WINDOW // 4)
    with Growing(file, WINDOW // 4) as growing:
        for _ in range(9):
            growing.write(part)
        growing.finish()
    assert told == [(file, 0, WINDOW), (file, 0, 2 * WINDOW)]


@pytest.mark.parametrize("offset", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 2, WHOLE])
def test_any_part_of_a_file_can_be_read(system: None, tmp_path: Path, offset: int, size: int) -> None:
    (tmp_path / "file").write_bytes(DATA)
    file = Passing(str(tmp_path / "file"))
    assert bytes(file.read(direct.buffer(room(size)), offset, size)) == DATA[offset : offset + size]
    file.close()


def test_the_end_of_a_file_is_the_end_of_what_is_read(system: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    file = Passing(str(tmp_path / "file"))
    for offset in (len(DATA) - 50, len(DATA), len(DATA) + 1, len(DATA) + 2 * BLOCK):
        assert bytes(file.read(direct.buffer(room(BLOCK)), offset, BLOCK)) == DATA[offset:]
    file.close()


def test_other_faults_of_reading_are_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    with pytest.raises(FileNotFoundError):
        Passing(str(tmp_path / "none"))
    file = Passing(str(tmp_path / "file"))

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(OSError, match="Input/output"):
        file.read(direct.buffer(room(1)), 0, 1)
    file.close()


def test_a_reserved_file_has_its_size_and_its_space(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        direct.reserve(file.fileno(), 1 << 20)
        assert os.fstat(file.fileno()).st_size == 1 << 20
        if sys.platform == "linux":
            # Some file systems cannot, and then it is a hole.
            assert os.fstat(file.fileno()).st_blocks in (0, 2048) or os.fstat(file.fileno()).st_blocks >= 2048
        direct.reserve(file.fileno(), 0)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a file system that is not large")
def test_what_can_never_fit_is_refused_at_once() -> None:
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        with pytest.raises(OSError, match="No space left") as caught:
            direct.reserve(file.fileno(), 1 << 50)
        assert caught.value.errno == errno.ENOSPC
        assert os.fstat(file.fileno()).st_blocks == 0


def test_what_is_in_the_file_already_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [(BLOCK, 2 * BLOCK), (2 * BLOCK, 3 * BLOCK), (5 * BLOCK, 9 * BLOCK)]
    path = tmp_path / "file"
    before = bytearray(len(DATA))
    for start, end in kept:
        before[start:end] = DATA[start:end]
    path.write_bytes(before)
    written, pwrite = [], os.pwrite

    def noted(file: int, data: memoryview, at: int) -> int:
        written.append((at, at + len(data)))
        return pwrite(file, data, at)

    monkeypatch.setattr(os, "pwrite", noted)
    pieces = random.Random(2)
    for size in (BLOCK, 4 * BLOCK):
        file = os.open(path, os.O_RDWR)
        with Growing(file, size, kept) as growing:
            at = 0
            while at < len(DATA):
                count = pieces.choice([1, 100, BLOCK, 3 * BLOCK + 7])
                growing.write(DATA[at : at + count])
                at += count
            growing.finish()
            assert growing.written == len(DATA)
        os.close(file)
        assert path.read_bytes() == DATA
    assert written and not any(at < end and start < to for at, to in written for start, end in kept)


def test_blocks_are_shared_where_the_file_system_can_and_else_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "b").write_bytes(bytes(len(DATA)))
    with (tmp_path / "a").open("rb") as source, (tmp_path / "b").open("r+b") as target:
        done = direct.share(source.fileno(), BLOCK, target.fileno(), 4 * BLOCK, 2 * BLOCK)
        assert not direct.share(source.fileno(), 1, target.fileno(), 0, 7)
    expected = bytearray(len(DATA))
    if done:
        expected[4 * BLOCK : 6 * BLOCK] = DATA[BLOCK : 3 * BLOCK]
    assert (tmp_path / "b").read_bytes() == expected
