from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from modelbuild.errors import Stopped
from modelbuild.files import DAY, PARTIAL
from modelbuild.registry.extents import Extent
from modelbuild.registry.partial import JOURNAL, KEPT, LOCK, Blob, Partial, clear_old
from tests.registry.standin import digest

DATA = os.urandom(100_000)
BLOB = Blob(digest(DATA), len(DATA))


def partial(folder: Path) -> Partial:
    return Partial(str(folder), BLOB)


def test_what_is_written_is_hashed_in_whatever_order_it_comes(tmp_path: Path) -> None:
    with partial(tmp_path) as one:
        found: list[str] = []
        hashing = threading.Thread(target=lambda: found.append(one.hash()))
        hashing.start()
        for start in (60_000, 0, 40_000, 20_000, 80_000):
            assert one.write(start, DATA[start : start + 20_000]) == 20_000
        hashing.join(30)
        assert found == [BLOB.digest] and one.missing() == []


def test_a_byte_that_is_there_is_never_written_again(tmp_path: Path) -> None:
    """What was hashed is what the file holds."""
    with partial(tmp_path) as one:
        one.write(10, DATA[10:50])
        assert one.write(0, bytes(100)) == 60
        with open(one.path, "rb") as file:
            assert file.read() == bytes(10) + DATA[10:50] + bytes(50)
        assert one.write(0, bytes(100)) == 0


def test_what_was_noted_is_there_the_next_time(tmp_path: Path) -> None:
    with partial(tmp_path) as one:
        one.write(0, DATA[:50_000])
        one.note(0, 30_000)
        one.write(70_000, DATA[70_000:])
        one.note(70_000, len(DATA))
    with partial(tmp_path) as one:
        assert one.resumed == 60_000
        assert one.missing() == [Extent(30_000, 70_000)]
        one.write(0, DATA)
        assert one.hash() == BLOB.digest


def test_what_is_not_there_is_not_noted(tmp_path: Path) -> None:
    with partial(tmp_path) as one:
        one.write(0, DATA[:10])
        one.note(0, 11)
        one.reset()
        one.note(0, 10)
        assert not os.path.exists(one.path + JOURNAL)


def test_a_journal_of_a_file_that_is_gone_claims_nothing(tmp_path: Path) -> None:
    with partial(tmp_path) as one:
        one.write(0, DATA)
        one.note(0, len(DATA))
    os.unlink(one.path)
    with partial(tmp_path) as one:
        assert one.resumed == 0 and one.missing() == [Extent(0, len(DATA))]


def test_a_file_that_is_cut_short_while_it_is_hashed_has_another_digest(tmp_path: Path) -> None:
    with partial(tmp_path) as one:
        one.write(0, DATA)
        os.truncate(one.path, 50)
        assert one.hash() != BLOB.digest


def test_after_the_end_nothing_is_written_or_hashed(tmp_path: Path) -> None:
    with partial(tmp_path) as one:
        stopped: list[BaseException] = []

        def hash_it() -> None:
            try:
                one.hash()
            except Stopped as error:
                stopped.append(error)

        hashing = threading.Thread(target=hash_it)
        hashing.start()
        one.end()
        hashing.join(30)
        assert len(stopped) == 1
        with pytest.raises(Stopped):
            one.write(0, b"x")
    with pytest.raises(Stopped):
        one.write(0, b"x")


def test_one_at_a_time_downloads_a_blob(tmp_path: Path) -> None:
    entered, waited = threading.Event(), []
    with partial(tmp_path) as one:
        one.write(0, DATA)
        one.note(0, len(DATA))

        def second() -> None:
            with Partial(str(tmp_path), BLOB, waited.append) as other:
                assert other.resumed == len(DATA)
                entered.set()

        thread = threading.Thread(target=second)
        thread.start()
        while not waited:
            time.sleep(0.02)
        assert not entered.is_set()
    thread.join(30)
    assert entered.is_set()
    assert sorted(os.listdir(tmp_path)) == [os.path.basename(one.path), os.path.basename(one.path) + JOURNAL]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    os.symlink(tmp_path / "other", partial(tmp_path).path)
    with pytest.raises(OSError), partial(tmp_path):
        pass
    assert (tmp_path / "other").read_text() == "precious"
    assert not os.path.exists(partial(tmp_path).path + LOCK)


def test_downloads_that_nobody_goes_on_with_are_removed_after_a_week(tmp_path: Path) -> None:
    old, new = PARTIAL + "sha256-old", PARTIAL + "sha256-new"
    now = time.time()
    for name, age in (
        (old, KEPT + 60),
        (old + JOURNAL, KEPT + 60),
        (new, DAY),
        ("other", KEPT * 2),
        (PARTIAL + "locked", KEPT * 2),
    ):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (now - age, now - age))
    with Partial(str(tmp_path), Blob("locked", 1)):
        clear_old(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([new, PARTIAL + "locked", "other"])
