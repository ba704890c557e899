"""GLM-4.5: its special tokens, which blocks have experts, what a part of each head is, and configurations that lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASE = zoo.cases("glm4_moe")["norms of heads, biases"]


def convert(folder: Path, changes: Mapping[str, Any], mtp: str = "drop") -> Recipe:
    folder = zoo.write(folder, replace(CASE, config=changed(CASE.config, changes)))
    return recipes.converted(folder, "f16", CASE.pre, mtp)


def test_special_tokens_of_the_family(tmp_path: Path) -> None:
    found = convert(tmp_path / "m", {}).metadata
    kinds = ("bos", "eos", "eot", "eom", "unknown")
    ids = {kind: decode_value(found[f"tokenizer.ggml.{kind}_token_id"]) for kind in kinds}
    assert ids == {"bos": 281, "eos": 278, "eot": 280, "eom": 282, "unknown": 276}


def test_the_first_block_has_no_experts(tmp_path: Path) -> None:
    recipe = convert(tmp_path / "m", {})
    shapes = {entry.name: entry.shape for entry in recipe.tensors}
    assert {"blk.0.ffn_up.weight", "blk.1.ffn_up_exps.weight", "blk.1.exp_probs_b.bias"} <= shapes.keys()
    assert not {"blk.1.ffn_up.weight", "blk.0.ffn_up_exps.weight"} & shapes.keys()
    assert shapes["blk.1.ffn_up_exps.weight"] == (4, 32, 64)
    assert decode_value(recipe.metadata["glm4moe.expert_gating_func"]) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": ..., "rope_parameters": {"rope_theta": 1e6, "partial_rotary_factor": 0.5}},
        {"partial_rotary_factor": ...},
    ],
)
def test_rotary_embedding_in_every_form(changes: Mapping[str, Any], tmp_path: Path) -> None:
    found = convert(tmp_path / "m", changes).metadata
    assert decode_value(found["glm4moe.rope.dimension_count"]) == 16
    assert decode_value(found["glm4moe.rope.freq_base"]) == 1e6


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"first_k_dense_replace": -1}, "'first_k_dense_replace' expects a number of blocks, got the number -1"),
        ({"first_k_dense_replace": True}, "'first_k_dense_replace' expects a number of blocks"),
        ({"n_shared_experts": 0}, "'n_shared_experts' expects a whole number of at least 1"),
        ({"n_routed_experts": 3}, "no expert of block 1 has such a tensor"),
        ({"n_routed_experts": 5}, "lacks tensors of its experts"),
        ({"partial_rotary_factor": 2}, "'partial_rotary_factor' expects a number above 0 and at most 1"),
        ({"head_dim": 0}, "'head_dim' expects a whole number of at least 1"),
    ],
)
def test_configurations_that_lie(changes: Mapping[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=what):
        convert(tmp_path / "m", changes)


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("_bias", "lacks 1 tensor"),
        ("shared_experts.up_proj", "lacks 1 tensor"),
        ("1.mlp.gate.weight", "lacks 1 tensor"),
    ],
)
def test_tensors_that_are_missing(part: str, what: str, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in CASE.shapes.items() if part not in name}
    folder = zoo.write(tmp_path / "m", replace(CASE, shapes=shapes))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=CASE.pre, mtp="drop")
    assert [error.what for error in conversion.faults()] == [f"the checkpoint {what} that this architecture has"]


def test_sizes_that_config_json_says_otherwise(tmp_path: Path) -> None:
    config = changed(CASE.config, {"moe_intermediate_size": 48})
    folder = zoo.write(tmp_path / "m", replace(CASE, config=config))
    (error,) = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=CASE.pre, mtp="drop").faults()
    assert "moe_intermediate_size * n_shared_experts" in str(error)
