"""Builds beside the hands of a server: none fails, and no manifest names a blob that is not there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import checkpoints
from tests.faults import folder as models_folder
from tests.faults import hands
from tests.faults.scenarios import CHECKPOINT, SHARED

HANDS = ("pruning", "sharing")


class Models:
    """A project of many models that share their weights and a text, its cache and its models folder."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.models = folder / "models"
        checkpoints.write(folder / "weights", **CHECKPOINT)

    def write(self, round_: int) -> None:
        """Declare the models; in each round they have other parameters, so that all manifests change."""
        tables = [
            f'[model.m{number}]\nfrom = "./weights"\nquantize = "q8_0"\nsystem = "{SHARED}"\n'
            f"parameters = {{ num_ctx = {1000 + number}, seed = {round_} }}\n"
            for number in range(self.count)
        ]
        (self.folder / "ModelBuild.toml").write_text("".join(tables))

    def build(self) -> None:
        places = ["--cache", str(self.folder / "cache"), "--models", str(self.models)]
        words = [sys.executable, "-m", "modelbuild", "-C", str(self.folder), *places]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr

    def texts(self) -> list[bytes]:
        """The blobs that all models share: their weights and their text."""
        manifests = [path.read_bytes() for path in (self.models / models_folder.LIBRARY).glob("*/latest")]
        shared = set.intersection(*(models_folder.named(manifest) for manifest in manifests))
        return [(self.models / "blobs" / blob).read_bytes() for blob in sorted(shared)]

    def check(self) -> None:
        assert models_folder.examine(self.models) == []
        names = {path.parent.name for path in (self.models / models_folder.LIBRARY).glob("*/latest")}
        assert {f"m{number}" for number in range(self.count)} <= names


def build_beside(models: Models, hand: str, rounds: int) -> None:
    """Build again and again beside a hand, from nothing and after edits in turn; look when both rest."""
    models.write(0)
    models.build()
    models.check()
    texts = models.texts()
    assert len(texts) >= 2
    act: Callable[[], None] = {"pruning": hands.pruning(models.models), "sharing": hands.sharing(models.models, texts)}[
        hand
    ]
    for round_ in range(1, rounds + 1):
        models.write(round_)
        if round_ % 2:
            for name in (models.models / models_folder.LIBRARY).glob("m*/latest"):
                name.unlink()
            for blob in (models.models / "blobs").iterdir():
                blob.unlink()
        with hands.beside(act) as acted:
            models.build()
        assert acted[0] > 10
        models.check()


@pytest.mark.parametrize("hand", HANDS)
def test_a_build_beside_the_hands_of_a_server(hand: str, tmp_path: Path) -> None:
    build_beside(Models(tmp_path, 10), hand, rounds=2)


@pytest.mark.peer
@pytest.mark.parametrize("hand", HANDS)
def test_25_builds_of_40_models_beside_the_hands_of_a_server(hand: str, tmp_path: Path) -> None:
    build_beside(Models(tmp_path, 40), hand, rounds=25)
