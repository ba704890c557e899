"""Temporary files of a models folder: near what they become, under one lock, gone at the end."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from modelbuild.engine.store import Store
from modelbuild.files import clear_temporaries
from modelbuild.ollama.library import Library
from modelbuild.publish.scratch import Scratch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models/blobs").mkdir(parents=True)
    return tmp_path / "models"


@pytest.fixture
def scratch(root: Path) -> Scratch:
    return Scratch(Library(str(root)), Store(str(root.parent / "cache")))


def test_a_file_is_written_beside_and_moved_in(root: Path, scratch: Scratch) -> None:
    with scratch.temporary(str(root / "blobs")) as file:
        assert Path(file.path).parent == root / ".modelbuild"
        file.write(b"whole")
        scratch.move(file.path, str(root / "blobs/one"))
    assert (root / "blobs/one").read_bytes() == b"whole"
    with scratch.temporary(str(root / "blobs")) as file:
        file.write(b"half")
    assert list((root / ".modelbuild").iterdir()) == []


def test_a_folder_that_goes_meanwhile_is_made_again(root: Path, scratch: Scratch) -> None:
    with scratch.temporary(str(root / "blobs")) as file:
        file.write(b"whole")
        shutil.rmtree(root / "blobs")
        scratch.move(file.path, str(root / "blobs/one"))
    assert (root / "blobs/one").read_bytes() == b"whole"


def test_another_mount_gets_a_folder_of_its_own(root: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def across(one: str, other: str) -> None:
        if (Path(one).parts[:-1] == (root / ".modelbuild").parts) != (
            Path(other).parts[:-1] == (root / ".modelbuild").parts
        ):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), one, None, other)
        replace(one, other)

    monkeypatch.setattr(os, "replace", across)
    with scratch.temporary(str(root / "blobs")) as file:
        file.write(b"whole")
        scratch.move(file.path, str(root / "blobs/one"))
    assert (root / "blobs/one").read_bytes() == b"whole"
    assert scratch.near(str(root / "blobs")) == str(root / "blobs/.modelbuild")
    aside = scratch.set_aside(str(root / "blobs/one"))
    assert Path(aside).parent == root / "blobs/.modelbuild" and not (root / "blobs/one").exists()
    assert set(scratch.folders()) == {str(root / ".modelbuild"), str(root / "blobs/.modelbuild")}


def test_the_lock_is_waited_for_no_longer_than_was_said_and_clears_what_was_left(root: Path, scratch: Scratch) -> None:
    (root / ".modelbuild").mkdir()
    (root / ".modelbuild/.tmp-killed").write_text("half")
    with scratch.locked():
        assert [path.name for path in (root / ".modelbuild").iterdir()] == ["lock"]
        other = Scratch(Library(str(root)), Store(str(root.parent / "cache")))
        with pytest.raises(BlockingIOError), other.locked(0.01):
            pass
    assert list((root / ".modelbuild").iterdir()) == []


def test_what_is_set_aside_may_come_back_and_goes_only_under_the_lock(root: Path, scratch: Scratch) -> None:
    (root / "blobs/one").write_text("whole")
    with scratch.locked():
        aside = Path(scratch.set_aside(str(root / "blobs/one")))
        # A build that begins meanwhile removes the temporary files of killed builds, without the lock.
        clear_temporaries(str(aside.parent))
        assert aside.read_text() == "whole"
    # We were killed.
    with Scratch(Library(str(root)), Store(str(root.parent / "cache"))).locked():
        assert not aside.exists()
