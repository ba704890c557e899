"""Spare artifacts are told from other files, and go when their space is needed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from modelbuild.engine import spare


def test_those_go_first_that_have_lain_there_longest(tmp_path: Path) -> None:
    assert list(spare.files(str(tmp_path))) == [] and spare.held([str(tmp_path)]) == 0
    folder = tmp_path / spare.FOLDER
    folder.mkdir()
    paths = [folder / f"sha256-{number:064x}" for number in (3, 1, 2)]
    for path in paths:
        path.write_bytes(bytes(100_000))
        time.sleep(0.02)
    foreign = [folder / "notes", folder / "sha256-1", tmp_path / paths[0].name]
    for path in foreign:
        path.write_text("mine")
    (folder / f"sha256-{4:064x}").symlink_to(foreign[0])
    assert {path for path, _ in spare.files(str(tmp_path))} == set(map(str, paths))
    assert spare.held([str(tmp_path)]) >= 300_000
    spare.clear(str(tmp_path), 0)
    assert all(map(os.path.exists, paths))
    spare.clear(str(tmp_path), 110_000)
    assert [path.exists() for path in paths] == [False, False, True]
    spare.clear(str(tmp_path), 1 << 40)
    assert not paths[2].exists() and all(map(os.path.exists, foreign))


def test_one_that_is_removed_leaves_no_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "models/.modelbuild" / spare.FOLDER
    folder.mkdir(parents=True)
    paths = [folder / f"sha256-{number:064x}" for number in (1, 2)]
    for path in paths:
        path.write_bytes(b"x")
    spare.remove(str(paths[0]))
    assert paths[1].exists()
    spare.remove(str(paths[1]))
    spare.remove(str(paths[1]))
    assert list((tmp_path / "models").iterdir()) == []
