"""Paths as the user sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.cli.places import here, near_path, nearer
from modelbuild.errors import Error


def test_only_what_lies_in_a_folder_is_seen_from_it() -> None:
    assert near_path("/a/b/c", "/a/b") == "c"
    assert near_path("/a/bc", "/a/b") == "/a/bc"
    assert near_path("/a/b", "/") == "a/b"
    assert near_path("b", "/a") == "b"


def test_a_working_folder_that_was_removed_is_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert here() == os.getcwd()
    gone.rmdir()
    assert here() == "/"


def test_paths_of_errors_are_seen_from_the_working_folder(tmp_path: Path) -> None:
    inside = tmp_path / "project" / "ModelBuild.toml"
    inside.parent.mkdir()
    inside.touch()
    error = Error("bad", path=str(inside), line=2, facts=[("looked at", str(inside)), ("else", "/elsewhere/x")])
    near = nearer(error, None, str(tmp_path))
    assert near.place == "project/ModelBuild.toml:2"
    assert near.facts == (("looked at", "project/ModelBuild.toml"), ("else", "/elsewhere/x"))
    own = Error("bad", path="ModelBuild.toml")
    assert nearer(own, str(inside.parent), str(tmp_path)).path == "project/ModelBuild.toml"
    assert nearer(own, str(inside.parent), str(tmp_path / "sub")).path == str(inside)
    assert nearer(Error("bad", path="--set"), str(inside.parent), str(tmp_path)).path == "--set"
