"""Builds, cleans and signals at once: MODELBUILD_STRESS seconds of them (30), with `pytest -m peer tests/faults`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("MODELBUILD_STRESS", "30"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are waited for as on Linux")


def stress(seconds: float, folder: Path) -> None:
    words = [sys.executable, "-m", "tests.faults.stress", "--seconds", str(seconds), "--folder", str(folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds * 2 + 120, cwd=root)
    print(done.stdout.splitlines()[-1:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_moment_of_stress(tmp_path: Path) -> None:
    stress(2, tmp_path)


@pytest.mark.peer
def test_stress(tmp_path: Path) -> None:
    stress(SECONDS, tmp_path)
