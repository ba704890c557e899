"""Blobs are hashed once for all their names, and held against the manifests."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.ollama.library import Library
from modelbuild.session import verifying
from modelbuild.session.verifying import Verified, verify
from tests.ollama.test_survey import install

NAMES = ("registry.ollama.ai/library/one/latest", "registry.ollama.ai/library/two/latest")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    install(tmp_path / "models", NAMES[0], "weights", "one")
    install(tmp_path / "models", NAMES[1], "weights", "two")
    return tmp_path / "models"


def look(models: Path, jobs: int = 2, *, mend: bool = True) -> tuple[Verified, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    store = Store(str(models.parent / "cache"))
    try:
        return verify(store, Library(str(models)), jobs, lambda *each: told.append(each), mend), told
    finally:
        store.close()


def blob(models: Path, text: str) -> Path:
    return next(path for path in (models / "blobs").iterdir() if path.read_text() == text)


def test_a_whole_folder_has_nothing_wrong_and_all_bytes_are_told_of(models: Path) -> None:
    found, told = look(models)
    assert (found.wrong, found.faults) == ([], [])
    total = sum(path.stat().st_size for path in (models / "blobs").iterdir())
    assert (found.files, found.bytes) == (4, total)
    assert max(told) == (total, total) and len(told) == 4


def test_each_fault_names_the_models_that_it_breaks(models: Path) -> None:
    blob(models, "one").unlink()
    blob(models, "weights").write_text("weirds")
    found, _ = look(models)
    assert [(each.why, each.models, each.action) for each in found.wrong] == [
        ("damaged", NAMES, "not ours"),
        ("missing", NAMES[:1], ""),
    ]
    assert found.faults == []


def test_nothing_is_done_where_nothing_may_be(models: Path) -> None:
    blob(models, "weights").write_text("weirds")
    found, _ = look(models, mend=False)
    assert [(each.why, each.action) for each in found.wrong] == [("damaged", "")]


def test_names_of_one_file_are_read_once(models: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    path = blob(models, "weights")
    os.link(path, tmp_path / "cache/blobs" / path.name)
    store.note_location(path.name.replace("-", ":"), str(tmp_path / "cache/blobs" / path.name))
    found, told = look(models)
    assert found.files == 4 == len(told)


def test_what_cannot_be_read_is_told_of_and_what_is_no_file_is_passed_over(models: Path) -> None:
    (models / "blobs/sha256-partial").write_text("x")
    os.mkfifo(models / "blobs" / ("sha256-" + "0" * 64))
    found, _ = look(models)
    assert found.wrong == [] and found.files == 4


def test_what_stands_in_the_place_of_a_blob_is_named(models: Path) -> None:
    for text in ("one", "two"):
        blob(models, text).rename(models / text)
    names = {
        text: models / "blobs" / ("sha256-" + hashlib.sha256(text.encode()).hexdigest()) for text in ("one", "two")
    }
    names["one"].mkdir()
    os.mkfifo(names["two"])
    found, _ = look(models)
    assert {each.why: each.models for each in found.wrong} == {"a folder": NAMES[:1], "not a plain file": NAMES[1:]}


def test_a_blob_that_goes_meanwhile_is_not_damaged(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = blob(models, "weights")

    def gone(name: str) -> None:
        raise FileNotFoundError(name) if name == str(path) else OSError(5, "Input/output error", name)

    monkeypatch.setattr(verifying, "open_plain", gone)
    found, _ = look(models)
    assert {each.why for each in found.wrong} == {"input/output error"}
    assert str(path) not in {path for each in found.wrong for path in each.paths}


def test_a_fault_that_nobody_foresaw_ends_all_threads(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Error("told once")

    monkeypatch.setattr(verifying, "_fault", fail)
    with pytest.raises(Error, match="told once"):
        look(models, jobs=1)
