"""No event is lost: whatever is edited, a watch makes in the end what a clean build makes."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.e2e.random_edits import Edits

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="edits switch between branches of git")


def after(folder: Path, rounds: int, seed: int) -> None:
    edits = Edits(folder, seed)
    with edits.watched():
        for _ in range(rounds):
            edits.agree(edits.edit())


def test_random_edits_end_in_what_a_clean_build_makes(tmp_path: Path) -> None:
    after(tmp_path, 15, 5)


@pytest.mark.peer
def test_many_random_edits_end_in_what_a_clean_build_makes(tmp_path: Path) -> None:
    after(tmp_path, 150, int(time.time()))


@pytest.mark.peer
def test_edits_leave_neither_memory_nor_descriptors_behind(tmp_path: Path) -> None:
    edits = Edits(tmp_path, 2)
    with edits.watched():
        for _ in range(10):
            edits.edit()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            edits.agree(edits.edit())
            edits.measure()
    first, last = edits.uses[0], edits.uses[-1]
    assert last.descriptors <= first.descriptors + 2
    assert last.kib < first.kib + 20 * 1024
