"""Cohere 2: what transformers fills in, rotations, and the order of its blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

CASE = zoo.cases("cohere2")["four blocks"]


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "cohere2"}),
        {"sliding_window": 4096, "head_dim": 128, "num_key_value_heads": 64},
    )
    assert {key: full[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    "config", [{"sliding_window_pattern": 0}, {"sliding_window_pattern": "LLLG"}, {"layer_types": ["full_attention"]}]
)
def test_transformers_refuses(config: dict[str, Any]) -> None:
    assert "vocab_size" not in complete({"model_type": "cohere2", "num_hidden_layers": 2, **config})


def test_whole_heads_turn_where_nothing_is_said(tmp_path: Path) -> None:
    config = {key: value for key, value in CASE.config.items() if key != "rotary_pct"}
    recipe = recipes.converted(zoo.write(tmp_path / "m", replace(CASE, config=config)), "f16", CASE.pre)
    assert decode_value(recipe.metadata["cohere2.rope.dimension_count"]) == 16


@pytest.mark.parametrize(("key", "value"), [("rotary_pct", 0), ("rotary_pct", "all"), ("sliding_window", None)])
def test_values_that_are_no_numbers(key: str, value: Any, tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(CASE, config={**CASE.config, key: value}))
    with pytest.raises(Error, match=f"'{key}' expects a"):
        recipes.converted(folder, "f16", CASE.pre)


@pytest.mark.parametrize(
    ("changes", "doubted"),
    [
        ({}, False),
        ({"sliding_window_pattern": 4}, False),
        ({"sliding_window_pattern": 2}, True),
        ({"layer_types": ["full_attention"] * 4}, True),
    ],
)
def test_order_of_blocks_that_the_runtime_does_not_know(changes: dict[str, Any], doubted: bool, tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(CASE, config={**CASE.config, **changes}))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=CASE.pre)
    found = [error.what for error in conversion.warnings() if "trained with another order" in error.what]
    assert len(found) == doubted


def test_biases_are_not_read(tmp_path: Path) -> None:
    shapes = {**CASE.shapes, **{f"model.layers.{block}.self_attn.q_proj.bias": (64,) for block in range(4)}}
    conversion = Conversion(
        recipes.Folder(zoo.write(tmp_path / "m", replace(CASE, shapes=shapes))), folder="m", outtype="f16", pre=CASE.pre
    )
    assert [error.what for error in conversion.faults()] == [
        "the checkpoint contains 4 biases that llama.cpp's runtime does not read in a model of cohere2"
    ]
