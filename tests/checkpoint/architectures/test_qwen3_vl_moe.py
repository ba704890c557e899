"""Qwen3-VL with experts: what transformers fills in, and the shape of stacked experts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo

STACKED = zoo.cases("qwen3_vl_moe")["stacked"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "qwen3_vl_moe", "text_config": {"head_dim": 0}})
    wanted = {
        "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128, "num_experts": 60,
        "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "rope_theta": 5e6,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted


def test_stacked_experts_have_three_dimensions(tmp_path: Path) -> None:
    name = "model.language_model.layers.0.mlp.experts.down_proj"
    case = replace(STACKED, shapes={**STACKED.shapes, name: (96, 64)})
    with pytest.raises(Error, match=r"expects three dimensions, the experts first, got \[96, 64\]"):
        recipes.converted(zoo.write(tmp_path / "m", case), pre=case.pre)
