"""The planner's looks: each is written down, and told apart from what would be seen now."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelbuild import observed
from modelbuild.digest import file_xxh3
from modelbuild.observed import Observed, entries, unchanged


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def test_a_folder_holds_files_and_folders_by_name(folder: Path) -> None:
    assert entries(str(folder)) == (("file", "file", False), ("link", "file", True), ("sub", "folder", False))
    assert [observed.kind(str(folder / name)) for name in ("file", "link", "sub", "dangling", "fifo", "none")] == [
        *("file", "file", "folder", None, None, None)
    ]


def look(name: str, folder: Path) -> Observed:
    seen = Observed()
    path = str(folder / "file")
    looks: dict[str, Callable[[], object]] = {
        "read": lambda: seen.read(path),
        "kind": lambda: seen.kind(path),
        "stat": lambda: seen.stat(path),
        "entries": lambda: seen.entries(str(folder)),
        "env": lambda: seen.env("MODELBUILD_TEST"),
    }
    looks[name]()
    return seen


@pytest.mark.parametrize(
    ("verb", "change"),
    [
        ("read", lambda folder: (folder / "file").write_text("other")),
        ("read", lambda folder: (folder / "file").unlink()),
        ("kind", lambda folder: (folder / "file").unlink()),
        ("stat", lambda folder: os.utime(folder / "file", ns=(1, 1))),
        ("entries", lambda folder: (folder / "more").touch()),
        ("entries", lambda folder: (folder / "sub").rmdir()),
        ("env", lambda folder: os.environ.update(MODELBUILD_TEST="")),
    ],
)
def test_each_look_notices_its_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str, change: Callable[[Path], object]
) -> None:
    monkeypatch.setenv("MODELBUILD_TEST", "x")
    monkeypatch.delenv("MODELBUILD_TEST")
    looks = look(verb, folder).looks()
    assert [each[0] for each in looks] == [verb]
    assert unchanged(looks, file_xxh3)
    change(folder)
    assert not unchanged(looks, file_xxh3)


def test_what_was_not_looked_at_may_change(folder: Path) -> None:
    looks = look("kind", folder).looks()
    (folder / "file").write_text("another text")
    (folder / "more").touch()
    assert unchanged(looks, file_xxh3)


def test_a_large_text_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "LIMIT", 3)
    with pytest.raises(OSError, match="large"):
        look("read", folder)


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("read", "none", lambda path: path.touch()),
        ("read", "folder", lambda path: (path.rmdir(), path.touch())),
        ("read", "none", lambda path: path.mkdir()),
        ("read", "large", lambda path: path.write_text("x")),
        ("read", "large", lambda path: path.unlink()),
        ("stat", "none", lambda path: path.touch()),
        ("entries", "none", lambda path: path.mkdir()),
        ("entries", "file", lambda path: path.unlink()),
        ("entries", "file", lambda path: (path.unlink(), path.mkdir())),
    ],
)
def test_a_look_that_failed_notices_when_it_would_not_or_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, before: str, after: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(observed, "LIMIT", 3)
    path = tmp_path / "path"
    {"none": lambda: None, "folder": path.mkdir, "large": lambda: path.write_text("large"), "file": path.touch}[
        before
    ]()
    seen = Observed()
    with pytest.raises(OSError):
        getattr(seen, verb)(str(path))
    looks = seen.looks()
    assert [each[0] for each in looks] == [verb]
    assert unchanged(looks, file_xxh3)
    after(path)
    assert not unchanged(looks, file_xxh3)
