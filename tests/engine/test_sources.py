"""Sources: their digests, read once, and what is left unread."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelbuild import digest as digests
from modelbuild.engine.graph import Source
from modelbuild.engine.sources import BUILD, FileDigest, Limit, Sources
from modelbuild.errors import Error
from modelbuild.files import TICK
from tests.engine.toy import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def prepared(toy: Toy, *sources: Source) -> Sources:
    found = toy.sources()
    found.prepare(sources)
    return found


@pytest.mark.parametrize("ahead", [0, 10**8])
def test_a_file_is_hashed_once_also_one_from_the_future(toy: Toy, ahead: int) -> None:
    source = toy.write("a.txt", "weights")
    if ahead:
        os.utime(source.path, (time.time() + ahead,) * 2)
    # Old enough to be trusted: also its change time, which nobody can set.
    time.sleep(0.05)
    sources = prepared(toy, source)
    assert sources.unhashed([source]) == [(source, 7)]
    assert sources.digest(source) == digests.xxh3(b"weights")
    assert prepared(toy, source).unhashed([source]) == []
    os.utime(source.path)
    assert prepared(toy, source).unhashed([source]) == [(source, 7)]


def test_a_copy_with_the_times_of_its_original_is_hashed_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelbuild.engine.sources.SHORT", 0)
    source = toy.write("a.txt", "weights")
    os.utime(source.path, (1e9 + 0.5,) * 2)
    assert prepared(toy, source).digest(source) == digests.xxh3(b"weights")
    assert prepared(toy, source).unhashed([source]) == []


def test_a_text_that_was_written_just_now_is_read_at_once_and_once_more(toy: Toy) -> None:
    source = toy.write("a.txt", "weights")
    begun = time.monotonic()
    assert prepared(toy, source).digest(source) == digests.xxh3(b"weights")
    if time.monotonic() < begun + TICK:
        assert prepared(toy, source).unhashed([source]) == [(source, 7)]


def test_absence_is_a_digest(toy: Toy) -> None:
    source = Source(str(toy.folder / "none"), "bytes")
    assert toy.sources().unhashed([source]) == []
    assert toy.sources().digest(source) == "absent"


def test_what_is_gone_and_can_be_fetched_has_the_digest_that_is_known(toy: Toy) -> None:
    source = Source(str(toy.folder / "none"), "weights", "xxh3:known")
    assert toy.sources().beyond(BUILD, [source]) == set()
    assert toy.sources().digest(source) == "xxh3:known"
    there = toy.write("there", "bytes")._replace(known="xxh3:other")
    assert toy.sources().digest(there) == digests.xxh3(b"bytes")


def test_what_is_large_is_left_unread(toy: Toy) -> None:
    text, weights = toy.write("text", "12345"), toy.write("w", "123")._replace(form="weights")
    empty, folder = toy.write("e", "")._replace(form="weights"), Source(str(toy.folder), "weights")
    sources = toy.sources()
    assert sources.beyond(Limit(3, 5), [text, weights, empty]) == set()
    assert sources.beyond(Limit(2, 4), [text, weights, empty]) == {text, weights}
    assert sources.beyond(BUILD, [text, weights, empty, folder]) == {weights, empty, folder}


def test_all_that_cannot_be_read_is_told(toy: Toy) -> None:
    good, folder = toy.write("a", "a"), Source(str(toy.folder), "bytes")
    other = Source(str(toy.folder / "cache"), "bytes")
    wrong = toy.sources().read([good, folder, other], but=[other])
    assert list(wrong) == [folder]
    assert str(wrong[folder]).endswith("cannot be read: is a directory")


def test_what_was_found_in_weights_is_known_to_the_next_build(toy: Toy) -> None:
    read = []

    def digest(path: str) -> FileDigest:
        read.append(path)
        return FileDigest("xxh3:1", b"detail")

    toy.digesters["weights"] = digest
    source = toy.write("w", "w")._replace(form="weights")
    time.sleep(0.05)
    for _ in range(2):
        sources = prepared(toy, source)
        assert sources.detail(sources.digest(source)) == b"detail"
        assert sources.weights() == [("xxh3:1", source.path)]
    assert read == [source.path]
    toy.store.database.clear()
    assert sources.detail("xxh3:1") == b"detail"
    assert len(read) == 2


def test_a_file_that_changes_while_it_is_read_stops_the_build(toy: Toy) -> None:
    source = toy.write("w", "w")._replace(form="weights")

    def digest(path: str) -> FileDigest:
        Path(path).write_text("other")
        return FileDigest("xxh3:1", None)

    toy.digesters["weights"] = digest
    with pytest.raises(Error, match="source changed during the build"):
        toy.sources().digest(source)


def test_many_digests_are_noted_in_one_go(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [toy.write(f"{number}.txt", f"{number}") for number in range(5)]
    time.sleep(0.05)
    found, changes = prepared(toy, *sources), []
    change = toy.store.database.change
    monkeypatch.setattr(type(toy.store.database), "change", lambda db, *told: (changes.append(told), change(*told)))
    with found.together():
        digests_ = [found.digest(source) for source in sources]
        assert not changes
    assert len(changes) == 1
    assert prepared(toy, *sources).unhashed(sources) == []
    assert digests_ == [digests.xxh3(f"{number}".encode()) for number in range(5)]
