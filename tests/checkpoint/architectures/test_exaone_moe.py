"""K-EXAONE: which blocks have experts, and how they are chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASE = zoo.cases("exaone_moe")["four experts"]


def conversion(folder: Path, **changes: Any) -> Conversion:
    case = replace(CASE, config=changed(CASE.config, changes))
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="m", outtype="f16", pre=case.pre)


@pytest.mark.parametrize(
    "changes",
    [
        {"first_k_dense_replace": ..., "first_last_k_dense_replace": 1},
        {"first_k_dense_replace": ..., "mlp_layer_types": ["dense", *["sparse"] * 3]},
        {"scoring_func": ...},
        {"sliding_window_pattern": ...},
    ],
)
def test_all_forms_say_the_same(changes: dict[str, Any], tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", **changes)
    assert found.faults() == [] and found.warnings() == []
    assert (
        found.recipe.metadata.items()
        >= {
            key: value
            for key, value in conversion(tmp_path / "as released").recipe.metadata.items()
            if key.startswith("exaone-moe.")
        }.items()
    )
    assert decode_value(found.recipe.metadata["exaone-moe.expert_gating_func"]) == 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mlp_layer_types": ["sparse", "dense", "sparse", "sparse"]}, "those without experts before all others"),
        ({"mlp_layer_types": ["dense"]}, "'mlp_layer_types' expects the kinds of 4 blocks"),
        ({"first_k_dense_replace": 5}, "'first_k_dense_replace' expects a number of blocks, at most 4"),
        ({"sliding_window": None}, "'sliding_window' expects a number above 0"),
        ({"routed_scaling_factor": None}, "'routed_scaling_factor' is missing"),
        ({"first_k_dense_replace": 2}, "lacks 3 tensors"),
    ],
)
def test_what_the_runtime_does_not_know(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    found = [error.what for error in conversion(tmp_path / "m", **changes).faults()]
    assert any(what in text for text in found), found
