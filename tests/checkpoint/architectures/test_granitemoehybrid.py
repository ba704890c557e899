"""Granite 4: which blocks are Mamba-2, what becomes of their tensors, and files of another name where none is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

CASES = zoo.cases("granitemoehybrid")
DENSE = CASES["dense"]


def of(folder: Path, case: zoo.Case = DENSE, **changes: Any) -> Conversion:
    config = {key: value for key, value in {**case.config, **changes}.items() if value is not ...}
    inputs = recipes.Folder(zoo.write(folder, replace(case, config=config)))
    return Conversion(inputs, folder="m", outtype="source", pre=case.pre)


def test_blocks_are_told_by_their_heads_of_keys(tmp_path: Path) -> None:
    recipe = of(tmp_path / "m").recipe
    assert decode_value(recipe.metadata["granitehybrid.attention.head_count_kv"]) == [0, 0, 2, 0]
    assert decode_value(recipe.metadata["granitehybrid.rope.scaling.finetuned"]) is False
    assert decode_value(recipe.metadata["granitehybrid.context_length"]) == 1 << 20
    shapes = {entry.name: entry.shape for entry in recipe.tensors}
    assert {shapes[f"blk.0.ssm_{letter}"] for letter in "ad"} == {(4, 1)}
    assert shapes["blk.0.ssm_conv1d.weight"] == (160, 4)
    assert shapes["blk.0.ffn_gate.weight"] == shapes["blk.2.ffn_up.weight"] == (96, 64)


@pytest.mark.parametrize(
    ("name", "architecture"), [("attention alone", "granite"), ("attention alone, experts", "granitemoe")]
)
def test_models_of_attention_alone_are_granites_that_turn(name: str, architecture: str, tmp_path: Path) -> None:
    recipe = of(tmp_path / "m", CASES[name]).recipe
    assert decode_value(recipe.metadata["general.architecture"]) == architecture
    assert decode_value(recipe.metadata[f"{architecture}.rope.scaling.finetuned"]) is True
    assert decode_value(recipe.metadata[f"{architecture}.context_length"]) == 256


def test_kinds_of_blocks_may_have_the_names_of_transformers_5(tmp_path: Path) -> None:
    kinds = ["linear_attention", "linear_attention", "full_attention", "linear_attention"]
    found = of(tmp_path / "new" / "m", layer_types=kinds, time_step_limit=[0.0, {"__float__": "Infinity"}])
    assert found.recipe == of(tmp_path / "old" / "m").recipe
    assert not list(found.architecture.doubts())
    assert of(tmp_path / "numbers" / "m", layer_types=None, attn_layer_indices=[2]).recipe == found.recipe


def test_rows_need_not_be_a_multiple_of_eight(tmp_path: Path) -> None:
    shapes = {**DENSE.shapes, "model.embed_tokens.weight": (290, 64)}
    recipe = of(tmp_path / "m", replace(DENSE, shapes=shapes), vocab_size=290).recipe
    assert len(decode_value(recipe.metadata["tokenizer.ggml.tokens"])) == 290


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position_embedding_type": "rope"}, "trained with rotary embeddings"),
        ({"time_step_limit": [0.001, 0.1]}, "limits of its steps in time"),
    ],
)
def test_what_the_runtime_computes_otherwise_is_told(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert [said in str(error) for error in of(tmp_path / "m", **changes).warnings()] == [True, False]
    assert "norms the channels" in str(of(tmp_path / "two" / "m", CASES["two groups"]).warnings()[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer_types": ...}, "'layer_types' is missing"),
        (
            {"layer_types": ["mamba"]},
            "'layer_types' expects a list with one text for each of 4 blocks, got a list of 1",
        ),
        ({"layer_types": None, "attn_layer_indices": 2}, "'attn_layer_indices' expects a list of numbers"),
        ({"mamba_expand": 3}, "'mamba_expand' expects 2"),
        ({"mamba_d_head": 8}, "'mamba_d_head' expects mamba_expand .* 32, got the number 8"),
        ({"mamba_n_heads": 3, "mamba_d_head": "auto"}, "channels of a Mamba mixer do not divide into 3 heads"),
        ({"mamba_n_groups": ...}, "'mamba_n_groups' expects a whole number of at least 1, which is missing"),
        ({"mamba_d_conv": 3}, "blk.0.ssm_conv1d|conv1d.weight"),
        ({"hidden_act": "gelu"}, "'hidden_act' expects silu"),
        ({"num_key_value_heads": None}, "'num_key_value_heads' expects a whole number"),
        ({"layer_types": ["mamba"] * 4}, "lacks|config.json declares|has no such|one value"),
    ],
)
def test_configurations_that_lie(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=said):
        if found := of(tmp_path / "m", **changes).faults():
            raise Error("\n".join([*map(str, found), *(str(error.facts) for error in found)]))


def test_convolution_without_a_bias_is_an_error(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in DENSE.shapes.items() if not name.endswith("conv1d.bias")}
    (error,) = of(tmp_path / "m", replace(DENSE, shapes=shapes), mamba_conv_bias=False).faults()
    assert "lacks 3 tensors" in str(error) and "only with these biases" in str(error.hint)
