"""MiniMax M3: the forms of its configuration, and blocks without experts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from tests import recipes, zoo
from tests.zoo.minimax_m3 import TEXT, config
from tests.zoo.mistral import changed

CASE = zoo.cases("minimax_m3")["the text of one that sees"]
FLAT = {
    "sparse_attention_config": ..., "index_n_heads": 2, "index_head_dim": 32, "index_block_size": 128, "index_topk_blocks": 16,
    "index_local_blocks": 1, "moe_layer_freq": ..., "mlp_layer_types": ["dense", "sparse", "sparse"], "n_shared_experts": ...,
}  # fmt: skip


def conversion(folder: Path, **changes: Any) -> Conversion:
    case = replace(CASE, config=config(changed(TEXT, changes)))
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="m", outtype="f16", pre=case.pre)


def test_what_transformers_5_writes(tmp_path: Path) -> None:
    new, released = conversion(tmp_path / "new", **FLAT), conversion(tmp_path / "released")
    assert new.faults() == released.faults() == []
    assert new.recipe.metadata == released.recipe.metadata


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"moe_layer_freq": [1, 0, 1]}, "those without experts before all others"),
        ({"moe_layer_freq": [1, 1]}, "'moe_layer_freq' expects 0 or 1 for each of 3 blocks"),
        ({"routed_scaling_factor": None}, "'routed_scaling_factor' is missing"),
        (
            {"sparse_attention_config": {}},
            "'sparse_num_index_heads' expects a whole number of at least 1, which is missing",
        ),
        ({"n_shared_experts": 2}, "do not have the shape"),
        ({"moe_layer_freq": [0, 0, 1]}, "lacks 3 tensors"),
    ],
)
def test_values_that_do_not_fit(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    found = [error.what for error in conversion(tmp_path / "m", **changes).faults()]
    assert any(what in text for text in found), found
