"""Files of artifacts that are not finished: kept, gone on with, and never left for ever."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

import pytest

from modelbuild.digest import xxh3
from modelbuild.engine import unfinished
from modelbuild.engine.action import Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.store import Store
from modelbuild.engine.unfinished import Unfinished
from modelbuild.files import UNFINISHED, clear_temporaries

ACTION = "sha256:" + "ab" * 32
KEYS = [xxh3(b"one"), xxh3(b"two")]


@pytest.fixture
def cache(tmp_path: Path) -> LocalCache:
    return LocalCache(Store(str(tmp_path / "cache")))


def written(cache: LocalCache, *ends: int) -> Unfinished:
    file = Unfinished(cache, ACTION, cache.store.scratch)
    os.ftruncate(file.fileno(), 1000)
    for number, end in enumerate(ends):
        file.done(KEYS[number], end - 10, 10, KEYS[number])
    return file


def test_what_is_kept_ends_with_its_last_tensor_and_is_gone_on_with(cache: LocalCache) -> None:
    file = written(cache, 100, 250)
    assert not file.resumed
    file.keep()
    file.close()
    path = Path(file.path)
    assert path.stat().st_size == 250
    assert cache.tensors(KEYS) == {
        KEYS[0]: Range(path.name, 90, 10, KEYS[0]),
        KEYS[1]: Range(path.name, 240, 10, KEYS[1]),
    }
    # An interrupt before the first of them was read again loses none.
    again = written(cache, 100)
    assert again.resumed and again.path == file.path
    again.keep()
    again.close()
    assert path.stat().st_size == 250


def test_without_a_tensor_nothing_is_kept(cache: LocalCache) -> None:
    file = written(cache)
    file.keep()
    file.close()
    assert not os.path.exists(file.path)


def test_a_finished_file_is_another_ones_business(cache: LocalCache) -> None:
    file = written(cache, 100)
    os.rename(file.path, file.path + ".done")
    Path(file.path).write_bytes(b"a later build's")
    file.close()
    assert os.path.exists(file.path) and os.path.exists(file.path + ".done")


def test_tensors_are_noted_while_the_file_grows(cache: LocalCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "EVERY", 0)
    file = written(cache, 100)
    assert list(cache.tensors(KEYS)) == [KEYS[0]]
    file.close()


def test_one_build_writes_it_at_a_time(cache: LocalCache) -> None:
    file = written(cache, 100)
    with pytest.raises(BlockingIOError):
        Unfinished(cache, ACTION, cache.store.scratch)
    unfinished.sweep(cache.store.scratch, 0)
    clear_temporaries(cache.store.scratch, UNFINISHED)
    assert os.path.exists(file.path) and unfinished.held([cache.store.scratch]) == 0
    file.close()


@pytest.mark.parametrize("put", [os.link, os.symlink])
def test_nobody_else_s_file_is_written(cache: LocalCache, tmp_path: Path, put: object) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("precious")
    path = os.path.join(cache.store.scratch, UNFINISHED + ACTION.replace(":", "-"))
    put(theirs, path)  # type: ignore[operator]
    try:
        file = written(cache, 100)
    except OSError:
        assert put is os.symlink
    else:
        file.close()
    assert theirs.read_text() == "precious"


def test_what_nobody_goes_on_with_is_removed_in_the_end(cache: LocalCache) -> None:
    file = written(cache, 100)
    os.pwrite(file.fileno(), b"x" * 100, 0)
    file.keep()
    folder = cache.store.scratch
    clear_temporaries(folder)
    unfinished.sweep(folder, 0)
    assert os.path.exists(file.path) and unfinished.held([folder, "/none"]) >= 100
    assert cache.store.strangers() == []
    old = time.time() - unfinished.KEPT - 1
    os.utime(file.path, (old, old))
    unfinished.sweep(folder, 1 << 40)
    assert not os.path.exists(file.path)
    written(cache, 100).keep()
    cache.store.clear()
    assert os.listdir(folder) == []


def test_the_oldest_above_the_limit_are_removed_and_the_newest_stays(tmp_path: Path) -> None:
    now = time.time()
    for age in range(4):
        path = tmp_path / f"{UNFINISHED}{age}"
        path.write_bytes(bytes(10_000))
        os.utime(path, (now - age, now - age))
    size = 512 * (tmp_path / f"{UNFINISHED}0").stat().st_blocks
    for limit, left in ((4 * size, "0123"), (2 * size, "01"), (0, "0")):
        unfinished.sweep(str(tmp_path), limit)
        assert sorted(path.name for path in tmp_path.iterdir()) == [UNFINISHED + age for age in left]


def test_a_file_that_cannot_be_locked_is_not_left_behind(cache: LocalCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refused)
        with pytest.raises(OSError, match="Input/output error"):
            Unfinished(cache, ACTION, cache.store.scratch)
    assert os.listdir(cache.store.scratch) == []
