"""The remote in a folder: what others left in it, and a share that is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.files import TEMPORARY
from modelbuild.remotes import BLOBS
from modelbuild.remotes.folder import ABANDONED, Folder

DIGEST = "a" * 64


def test_a_share_that_is_not_mounted_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(Error, match="no such file"):
        Folder(str(tmp_path / "gone")).size(BLOBS, DIGEST)
    # A mount point would take what nobody else sees, and hide it once the share is there.
    with pytest.raises(Error, match="make the folder, or mount"):
        Folder(str(tmp_path / "gone")).put(BLOBS, DIGEST, 1, lambda: [b"x"])
    assert not (tmp_path / "gone").exists()


def test_what_killed_builds_left_is_removed_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "cas"
    folder.mkdir()
    old, new = folder / f"{TEMPORARY}old", folder / f"{TEMPORARY}new"
    old.write_bytes(b"")
    new.write_bytes(b"")
    at = folder.stat().st_mtime - ABANDONED - 1
    os.utime(old, (at, at))
    Folder(str(tmp_path)).put(BLOBS, DIGEST, 1, lambda: [b"x"])
    assert sorted(path.name for path in folder.iterdir()) == sorted([new.name, DIGEST])


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cas").mkdir()
    os.mkfifo(tmp_path / "cas" / DIGEST)
    folder = Folder(str(tmp_path))
    assert folder.size(BLOBS, DIGEST) is None
    with pytest.raises(Error, match="not a regular file"):
        list(folder.get(BLOBS, DIGEST))
