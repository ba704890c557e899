"""LFM2 with experts: which blocks have them, and what the configuration must say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

CASE = zoo.cases("lfm2_moe")["four experts"]


def convert(folder: Path, **changes: Any) -> Any:
    return recipes.converted(zoo.write(folder, replace(CASE, config={**CASE.config, **changes})), pre=CASE.pre)


def test_experts_are_chosen_by_a_sigmoid(tmp_path: Path) -> None:
    recipe = convert(tmp_path / "m")
    assert decode_value(recipe.metadata["lfm2moe.expert_gating_func"]) == 2
    assert decode_value(recipe.metadata["lfm2moe.leading_dense_block_count"]) == 1
    names = {entry.name for entry in recipe.tensors}
    assert {"blk.0.ffn_up.weight", "blk.1.ffn_up_exps.weight", "blk.1.exp_probs_b.bias"} <= names
    assert not {"blk.1.ffn_up.weight", "blk.0.ffn_up_exps.weight"} & names


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_dense_layers": None}, "'num_dense_layers' expects a number of blocks, at most 4"),
        ({"num_dense_layers": 5}, "'num_dense_layers' expects a number of blocks, at most 4, got the number 5"),
        ({"num_dense_layers": True}, "'num_dense_layers' expects a number of blocks"),
        ({"moe_intermediate_size": 0}, "'moe_intermediate_size' expects a whole number of at least 1"),
        ({"num_experts": 3}, "no expert of block 1 has such a tensor"),
        ({"num_experts": 5}, "lacks tensors of its experts"),
    ],
)
def test_configurations_that_lie(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Error, match=said):
        convert(tmp_path / "m", **changes)
