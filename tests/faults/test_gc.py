"""Garbage is collected again and again while builds run: none fails, and nothing is lost.

By default a few builds run at once; `pytest -m peer tests/faults/test_gc.py` runs 20.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelbuild.engine.garbage import Limits
from modelbuild.engine.store import Store
from modelbuild.session import collecting
from tests import checkpoints
from tests.faults import folder as models_folder
from tests.faults.scenarios import CHECKPOINT, SHARED, make_old

TEXT = """
[model.m{number}]
from = "../weights"
quantize = "{quant}"
system = "You are number {number} in round {round}."
[model.m{number}-too]
from = "../weights"
quantize = "{quant}"
system = "{shared}"
"""
QUANTS = ("q8_0", "q4_0", "q5_0", "q4_K_M", "f16")
GC = ("gc", "--older-than", "0d", "--max-size", "0")


class Builds:
    """Projects over the same weights, with one cache and one models folder."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.collected = 0
        for path in checkpoints.write(folder / "weights", **CHECKPOINT).iterdir():
            make_old(path)

    def write(self, round_: int) -> None:
        for number in range(self.count):
            path = self.folder / str(number) / "ModelBuild.toml"
            path.parent.mkdir(exist_ok=True)
            quant = QUANTS[(number + round_) % len(QUANTS)]
            path.write_text(TEXT.format(number=number, round=round_, quant=quant, shared=SHARED))

    def start(self, *words: str, at: int = 0, places: str = "") -> subprocess.Popen[str]:
        folders = ["--cache", str(self.folder / f"{places}cache"), "--models", str(self.folder / f"{places}models")]
        command = [sys.executable, "-m", "modelbuild", "-C", str(self.folder / str(at)), *folders, *words]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def run(self) -> None:
        """Build all at once, and collect garbage without a pause until the last one has ended; and by the command once."""
        running = [self.start("build", "-j2", at=number) for number in range(self.count)]
        running.append(self.start(*GC))
        with ThreadPoolExecutor(1) as pool:
            collected = pool.submit(self._collect, running)
            for process in running:
                ended(process)
            self.collected += collected.result()

    def _collect(self, running: list[subprocess.Popen[str]]) -> int:
        """Collect while any process is running; returns how often something went."""
        times = 0
        while any(process.returncode is None for process in running):
            with contextlib.closing(Store(str(self.folder / "cache"))) as store:
                times += bool(collecting.collect(store, Limits(0, 0.0), dry_run=False).removed)
        return times

    def tree(self, places: str = "") -> dict[str, bytes]:
        return models_folder.tree(self.folder / f"{places}models")

    def clean(self) -> dict[str, bytes]:
        """What builds leave one after the other, beside nobody."""
        for number in range(self.count):
            ended(self.start("build", at=number, places="clean-"))
        found = self.tree("clean-")
        for name in ("clean-cache", "clean-models"):
            shutil.rmtree(self.folder / name)
        return found


def ended(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors and "internal error" not in errors, errors


def collect_beside(builds: Builds, rounds: int) -> None:
    for round_ in range(rounds):
        builds.write(round_)
        builds.run()
        assert models_folder.examine(builds.folder / "models") == []
        assert models_folder.scratch(builds.folder / "models") == []
    print(f"{rounds * builds.count} builds, {builds.collected} collections that removed something")
    assert builds.collected >= rounds
    assert builds.tree() == builds.clean()
    # What is needed is still there: the same builds once more find all of it.
    for number in range(builds.count):
        again = builds.start("build", "-v", at=number)
        _, errors = again.communicate(timeout=300)
        assert again.returncode == 0 and "nothing to do" in errors or "0 steps run" in errors, errors


def test_gc_during_a_few_builds_loses_nothing(tmp_path: Path) -> None:
    collect_beside(Builds(tmp_path, 2), rounds=2)


@pytest.mark.peer
def test_gc_during_20_builds_loses_nothing(tmp_path: Path) -> None:
    collect_beside(Builds(tmp_path, 20), rounds=1)
