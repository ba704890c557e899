"""A stamp: what it holds on to, and what is too young for one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelbuild.session.stamp import Stamp, take


def test_stamp_is_not_taken_for_what_is_younger_than_a_tick(tmp_path: Path) -> None:
    (tmp_path / "young").write_text("x")
    assert take(1, 1, [], [str(tmp_path / "young")], {}) is None
    os.utime(tmp_path / "young", ns=(1, 1))
    assert take(1, 1, [], [str(tmp_path / "young")], {}) is None
    time.sleep(0.05)
    stamp = take(1, 1, [("env", "SOME_VARIABLE", "")], [str(tmp_path / "young"), str(tmp_path / "absent")], {})
    assert stamp is not None
    assert stamp.holds()
    (tmp_path / "absent").write_text("x")
    assert not stamp.holds()


def test_kept_stamp_is_the_same_stamp() -> None:
    stamp = Stamp(2, 9, {"/a": "1:2:3", "/none": ""}, {"HOME": "/h", "UNSET": None})
    assert Stamp.decode(stamp.encode()) == stamp


def test_a_stamp_hangs_on_files_folders_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SOME_VARIABLE", "x")
    time.sleep(0.05)
    looks = [("env", "SOME_VARIABLE", "=x"), ("entries", str(tmp_path / "folder"), "")]
    stamp = take(1, 1, looks, [], {})
    assert stamp is not None and stamp.holds()
    monkeypatch.setenv("SOME_VARIABLE", "y")
    assert not stamp.holds()
    monkeypatch.setenv("SOME_VARIABLE", "x")
    (tmp_path / "folder/new").touch()
    assert not stamp.holds()
