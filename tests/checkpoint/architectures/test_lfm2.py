"""LFM2: which blocks have attention, the size of the feed forward, and shapes of convolutions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete, find
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

CASE = zoo.cases("lfm2")["bf16"]
HEADLESS = zoo.cases("lfm2")["embeddings"]


def test_defaults_are_transformers() -> None:
    full = complete(
        {"model_type": "lfm2", "num_hidden_layers": 3, "full_attn_idxs": [1], "theta": 5.0, "block_ff_dim": 7}
    )
    wanted = {
        "vocab_size": 65536, "hidden_size": 2560, "num_attention_heads": 32, "num_key_value_heads": 8, "norm_eps": 1e-5,
        "max_position_embeddings": 128000, "conv_L_cache": 3, "rope_theta": 5.0, "intermediate_size": 7,
        "layer_types": ["conv", "full_attention", "conv"],
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert complete({"model_type": "lfm2", "num_hidden_layers": 2})["layer_types"] == ["full_attention"] * 2


def convert(folder: Path, case: zoo.Case = CASE, **changes: Any) -> dict[str, Any]:
    path = zoo.write(folder, replace(case, config={**case.config, **changes}))
    metadata = recipes.converted(path, pre=case.pre).metadata
    return {key.removeprefix("lfm2."): decode_value(data) for key, data in metadata.items() if key.startswith("lfm2.")}


def test_heads_of_keys_are_those_of_blocks_with_attention(tmp_path: Path) -> None:
    found = convert(tmp_path / "m")
    assert (found["attention.head_count_kv"], found["shortconv.l_cache"]) == ([0, 0, 2, 0], 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer_types": ["conv"]}, "'layer_types' expects a list with one text for each of 4 blocks, got a list of 1"),
        ({"layer_types": "conv"}, "'layer_types' expects a list with one text for each of 4 blocks, got"),
        ({"layer_types": None, "full_attn_idxs": 5}, "'full_attn_idxs' expects a list of numbers, got the number 5"),
        ({"conv_L_cache": 0}, "'conv_L_cache' expects a whole number of at least 1, got the number 0"),
        ({"num_key_value_heads": -1}, "'num_key_value_heads'"),
        ({"block_auto_adjust_ff_dim": True, "block_multiple_of": 0}, "'block_multiple_of' expects a whole number of at least 1"),
        (
            {"block_auto_adjust_ff_dim": True, "block_ffn_dim_multiplier": float("nan")},
            "'block_ffn_dim_multiplier' expects a number above 0",
        ),
        ({"block_auto_adjust_ff_dim": True, "block_ffn_dim_multiplier": "2"}, "'block_ffn_dim_multiplier' expects a number"),
    ],
)  # fmt: skip
def test_configurations_that_lie(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Error, match=said):
        convert(tmp_path / "m", **changes)


def test_convolutions_have_one_channel(tmp_path: Path) -> None:
    name = "model.layers.0.conv.conv.weight"
    for shape in ((64, 2, 3), (64, 3)):
        case = replace(CASE, shapes={**CASE.shapes, name: shape})
        with pytest.raises(Error, match=r"expects \[rows, 1, columns\]"):
            convert(tmp_path / str(len(shape)), case)


def test_tokens_of_embeddings_may_see_both_ways(tmp_path: Path) -> None:
    assert "attention.causal" not in convert(tmp_path / "a", HEADLESS)
    assert convert(tmp_path / "b", HEADLESS, architectures=["Lfm2BidirectionalModel"])["attention.causal"] is False


def test_a_dense_layer_behind_the_model_is_refused(tmp_path: Path) -> None:
    modules = '[{"type": "pylate.models.Dense", "path": "1_Dense"}]'
    with pytest.raises(Error, match="a dense layer behind the model is not supported yet for LFM2"):
        convert(tmp_path / "m", replace(HEADLESS, files={"modules.json": modules}))


@pytest.mark.parametrize("name", ["Lfm2Model", "Lfm2BidirectionalModel"])
def test_no_pooling_is_told(name: str) -> None:
    config = json.dumps({**CASE.config, "architectures": [name]}).encode()
    (doubt,) = find(name)(Checkpoint({"config.json": config}.get)).doubts()
    assert doubt.path == "modules.json" and "(pooling)" in doubt.what
