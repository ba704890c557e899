"""What need not be written: only whole blocks, of what may be shared, and of files that nobody writes to meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild import direct
from modelbuild.direct import BLOCK
from modelbuild.tensors import shared
from modelbuild.tensors.evaluate import Gone, Region

SIZE = 40 * BLOCK


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """What a file system is asked to share that can do so: from, to and how much. It copies."""
    calls: list[tuple[int, int, int]] = []

    def share(source: int, at: int, target: int, to: int, size: int) -> bool:
        assert not any(number % BLOCK for number in (at, to, size))
        calls.append((at, to, size))
        return os.pwrite(target, os.pread(source, size, at), to) == size

    monkeypatch.setattr(direct, "share", share)
    return calls


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "new", os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, SIZE)
    yield descriptor
    os.close(descriptor)


def old(tmp_path: Path) -> str:
    (tmp_path / "old").write_bytes(os.urandom(SIZE))
    return str(tmp_path / "old")


def region(path: str, offset: int, length: int, *, passing: bool = True) -> Region:
    return Region(path, offset, length, "", passing)


def test_whole_blocks_of_a_tensor_are_shared(tmp_path: Path, file: int, asked: list[tuple[int, int, int]]) -> None:
    path, length = old(tmp_path), shared.LEAST + 2 * BLOCK
    found = shared.take(file, [(region(path, 32 + BLOCK, length), 32)])
    assert found.parts == [(BLOCK, 32 + length - 32)] and asked == [(2 * BLOCK, BLOCK, length - BLOCK)]
    (start, end) = found.parts[0]
    assert os.pread(file, end - start, start) == Path(path).read_bytes()[start + BLOCK : end + BLOCK]
    found.check()
    os.unlink(path)
    found.check()


@pytest.mark.parametrize("case", ["moved by bytes", "small", "of the weights"])
def test_what_cannot_be_shared_is_copied(
    tmp_path: Path, file: int, asked: list[tuple[int, int, int]], case: str
) -> None:
    path = old(tmp_path)
    length = BLOCK if case == "small" else shared.LEAST
    offset = 32 if case == "moved by bytes" else 0
    found = shared.take(file, [(region(path, offset, length, passing=case != "of the weights"), 0)])
    assert not found.parts and not asked


def test_what_the_file_contains_itself_stays(tmp_path: Path, file: int, asked: list[tuple[int, int, int]]) -> None:
    own = str(tmp_path / "new")
    found = shared.take(file, [(region(own, 100, shared.LEAST + 2 * BLOCK), 100), (region(own, 0, SIZE), 2 * BLOCK)])
    assert found.parts == [(BLOCK, shared.LEAST + 2 * BLOCK)] and not asked and not found.origins


def test_a_file_system_that_refuses_is_asked_once(tmp_path: Path, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def refuse(*call: int) -> bool:
        calls.append(1)
        return False

    monkeypatch.setattr(direct, "share", refuse)
    path = old(tmp_path)
    length = shared.LEAST
    found = shared.take(file, [(region(path, at, length), at) for at in (0, length)])
    assert not found.parts and len(calls) == 1
    assert not shared.take(file, [(region(str(tmp_path / "gone"), 0, length), 0)]).parts


def test_a_file_that_was_written_to_meanwhile_is_not_believed(
    tmp_path: Path, file: int, asked: list[tuple[int, int, int]]
) -> None:
    path = old(tmp_path)
    found = shared.take(file, [(region(path, 0, shared.LEAST), 0)])
    os.link(path, tmp_path / "another name")
    found.check()
    os.utime(path, ns=(1, 1))
    with pytest.raises(Gone):
        found.check()
