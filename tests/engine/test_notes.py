"""Notes beside artifacts: a database that is new learns from them, and no file that lies is believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelbuild.digest import checked, file_name, unchecked
from modelbuild.engine.action import ActionResult, Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.notes import PLACES, Note
from modelbuild.engine.store import Store

ACTION = "sha256:" + "a" * 64
KEY = "xxh3:" + "b" * 32


def made(store: Store, data: bytes = b"tensors") -> Made:
    result = store.put(data)
    return Made(result, ((KEY, Range(result.artifact, 1, 3, KEY)),))


def lose_database(store: Store) -> Store:
    store.close()
    for suffix in ("", "-wal", "-shm"):
        Path(store.root, f"state.sqlite{suffix}").unlink(missing_ok=True)
    return Store(store.root)


def test_a_new_database_learns_what_was_made(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    found = made(store)
    LocalCache(store).record(ACTION, found)
    again = LocalCache(lose_database(store))
    assert again.tensors([KEY]) == dict(found.tensors)
    assert again.results([ACTION]) == {ACTION: found.result}
    assert again.store.contents().keys() == {again.store.path(found.result.artifact)}


def test_a_blob_that_lies_elsewhere_is_found_there(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    found = made(store)
    LocalCache(store).record(ACTION, found)
    elsewhere = tmp_path / file_name(found.result.artifact)
    os.replace(str(store.path(found.result.artifact)), elsewhere)
    store.note_location(found.result.artifact, str(elsewhere))
    again = LocalCache(lose_database(store))
    assert again.results([ACTION]) == {ACTION: found.result}
    assert again.store.path(found.result.artifact) == str(elsewhere)
    # Nothing says that it is as it was put.
    assert again.store.located(str(tmp_path)) == {found.result.artifact: ""}


def test_what_is_gone_is_not_learned(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    found = made(store)
    LocalCache(store).record(ACTION, found)
    Path(str(store.path(found.result.artifact))).unlink()
    assert LocalCache(lose_database(store)).results([ACTION]) == {}


def test_what_is_forgotten_has_no_note(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    found = made(store)
    LocalCache(store).record(ACTION, found)
    assert store.notes.names() == [found.result.artifact]
    store.forget(found.result.artifact)
    assert store.notes.names() == []
    LocalCache(store).record(ACTION, made(store))
    store.clear()
    assert store.notes.names() == []


def test_what_has_no_tensors_has_no_note(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    LocalCache(store).record(ACTION, Made(store.put(b"text")))
    assert store.notes.names() == []


LIES: dict[str, Callable[[list[Any]], object]] = {
    "another version": lambda value: value.__setitem__(0, 2),
    "an action that is no digest": lambda value: value.__setitem__(1, "../../x"),
    "another artifact": lambda value: value.__setitem__(2, "sha256:" + "0" * 64),
    "an artifact that is no digest": lambda value: value.__setitem__(2, 7),
    "a size that is no number": lambda value: value.__setitem__(3, "big"),
    "a size beyond all": lambda value: value.__setitem__(3, 1 << 63),
    "a range past the end": lambda value: value[5][0].__setitem__(2, 1000),
    "a range before the beginning": lambda value: value[5][0].__setitem__(1, -1),
    "a range of true": lambda value: value[5][0].__setitem__(1, True),
    "a key that is no digest": lambda value: value[5][0].__setitem__(0, "key"),
    "a key that is a list": lambda value: value[5][0].__setitem__(0, []),
    "a range of five": lambda value: value[5][0].append(1),
    "ranges that are none": lambda value: value.__setitem__(5, 3),
    "places that are none": lambda value: value.__setitem__(4, [None]),
    "a place with a NUL": lambda value: value.__setitem__(4, ["/a\0b"]),
    "a place that is no text": lambda value: value.__setitem__(4, ["/\ud800"]),
    "a value too many": lambda value: value.append(1),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_note_that_lies_is_none(lie: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    found = made(store)
    store.notes.write(ACTION, found)
    path = Path(store.notes.folder, file_name(found.result.artifact))
    value = json.loads(unchecked(path.read_bytes()) or b"")
    LIES[lie](value)
    path.write_bytes(checked(json.dumps(value).encode()))
    assert store.notes.read(found.result.artifact) is None
    assert LocalCache(lose_database(store)).tensors([KEY]) == {}


def test_damage_at_any_byte_is_seen(tmp_path: Path) -> None:
    data = Note(
        ACTION, ActionResult("sha256:" + "1" * 64, 9), ((KEY, Range("sha256:" + "1" * 64, 1, 3, KEY)),)
    ).encode()
    assert Note.decode(data) is not None
    for at in range(len(data)):
        assert Note.decode(data[:at]) is None
        assert Note.decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None


def test_odd_files_among_the_notes_are_passed_over(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    folder = Path(store.notes.folder)
    os.mkfifo(folder / ("sha256-" + "1" * 64))
    (folder / ("sha256-" + "2" * 64)).mkdir()
    (folder / ("sha256-" + "3" * 64)).write_bytes(checked(b"[" * 100_000))
    (folder / "thesis.txt").write_text("mine")
    assert list(store.notes.all()) == []


def test_places_are_absolute_named_as_the_blob_and_few(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    found = made(store)
    artifact = found.result.artifact
    store.notes.write(ACTION, found)
    store.notes.placed(artifact, "/etc/passwd")
    store.notes.placed(artifact, file_name(artifact))
    for number in range(40):
        store.notes.placed(artifact, f"/models/{number}/{file_name(artifact)}")
    note = store.notes.read(artifact)
    assert note is not None and len(note.places) <= PLACES
    assert note.places[0] == f"/models/39/{file_name(artifact)}"
    assert "/etc/passwd" not in note.places
    # A later note of the same artifact keeps them.
    store.notes.write(ACTION, found)
    assert store.notes.read(artifact) == note


def test_a_note_that_cannot_be_written_is_nobodys_error(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    found = made(store)
    os.rmdir(store.notes.folder)
    Path(store.notes.folder).write_text("in its place")
    LocalCache(store).record(ACTION, found)
    assert LocalCache(store).tensors([KEY]) == dict(found.tensors)
    assert os.listdir(store.scratch) == [file_name(found.result.artifact)]
