"""EXAONE 4.5: blocks for the prediction of several tokens, declared, there, and alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from tests import recipes, zoo
from tests.zoo.exaone4_5 import TEXT, config, shapes
from tests.zoo.mistral import changed

CASE = zoo.cases("exaone4_5")["a block for further tokens"]


def conversion(folder: Path, mtp: int, **changes: Any) -> Conversion:
    text = changed(TEXT, changes)
    case = replace(CASE, config=config(text), shapes=shapes(text, mtp))
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="m", outtype="f16", pre=case.pre)


@pytest.mark.parametrize(
    ("declared", "there", "made", "warns"),
    [(0, 0, 0, False), (1, 0, 0, True), (0, 1, 0, False), (1, 1, 1, False), (2, 2, 2, False)],
)
def test_blocks_that_are_declared_and_there(declared: int, there: int, made: int, warns: bool, tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", there, num_nextn_predict_layers=declared)
    assert found.faults() == []
    blocks = {entry.name.split(".")[1] for entry in found.recipe.tensors if ".nextn." in entry.name}
    assert len(blocks) == made
    assert any("the checkpoint has none" in error.what for error in found.warnings()) == warns


def test_more_blocks_than_declared(tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", 2, num_nextn_predict_layers=1).faults()
    assert any("cannot be mapped" in error.what for error in found)


@pytest.mark.parametrize("count", [-1, 17, "1"])
def test_a_number_of_blocks_that_is_none(count: Any, tmp_path: Path) -> None:
    (error,) = conversion(tmp_path / "m", 1, num_nextn_predict_layers=count).faults()
    assert "'num_nextn_predict_layers' expects a whole number from 0 to 16" in error.what
