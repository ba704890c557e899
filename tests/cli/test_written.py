"""Files that a command writes where the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.cli.written import checked, write
from modelbuild.errors import Error


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    file = checked(str(tmp_path / "a.html"), "--html", "x.html")
    write(file, "é\ud800", "--html")
    assert Path(file).read_text(encoding="utf-8") == "é\\ud800"
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_what_cannot_be_written_is_an_error_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(Error, match="no such folder"):
        checked(str(tmp_path / "no/a.html"), "--html", "x.html")
    with pytest.raises(Error, match="expected a file") as error:
        checked(str(tmp_path), "--html", "x.html")
    assert "such as x.html" in str(error.value)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Error, match="cannot be written: no space left"):
        write(str(tmp_path / "a"), "new", "--html")
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
