"""Qwen3-Next: what transformers fills in, and the parts of the matrix that has queries to gates of one head after another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo

CASE = zoo.cases("qwen3_next")["blocks for further tokens"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "qwen3_next"})
    wanted = {
        "num_hidden_layers": 48, "hidden_size": 2048, "head_dim": 256, "num_experts": 512, "linear_num_value_heads": 32,
        "linear_num_key_heads": 16, "linear_conv_kernel_dim": 4, "partial_rotary_factor": 0.25, "rms_norm_eps": 1e-6,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert full["layer_types"] == (["linear_attention"] * 3 + ["full_attention"]) * 12
    assert complete({"model_type": "qwen3_next", "num_hidden_layers": 2, "full_attention_interval": 2})[
        "layer_types"
    ] == [
        "linear_attention",
        "full_attention",
    ]


def test_what_transformers_refuses_is_not_filled_in() -> None:
    for odd in (
        {"layer_types": ["full_attention"]},
        {"full_attention_interval": 0},
        {"rope_scaling": {"type": "yarn"}},
    ):
        assert "num_experts" not in complete({"model_type": "qwen3_next", **odd})


def test_the_parts_of_all_heads_are_put_together(tmp_path: Path) -> None:
    """Two keys; of each 32 queries, 32 keys, 64 values, 64 gates."""
    folder = zoo.write(tmp_path / "m", CASE)
    name = "model.layers.0.linear_attn.in_proj_qkvz.weight"
    _, shape, data = zoo.tensor(name, "bf16", CASE.shapes[name])
    heads = np.frombuffer(data, "<u2").reshape(2, 192, 64)
    leaves = recipes.Folder(folder).leaves()
    recipe = recipes.converted(folder, "bf16", CASE.pre)
    found = {
        each.name: recipes.evaluate(each.expression, leaves)
        for each in recipe.tensors
        if each.name.startswith("blk.0.attn_")
    }
    parts = [heads[:, 0:32], heads[:, 32:64], heads[:, 64:128]]
    assert found["blk.0.attn_qkv.weight"] == b"".join(part.tobytes() for part in parts)
    assert found["blk.0.attn_gate.weight"] == heads[:, 128:].tobytes()
    assert shape == (384, 64)


@pytest.mark.parametrize("shape", [(383, 64), (768, 64)])
def test_a_matrix_of_another_height_is_an_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    name = "model.layers.0.linear_attn.in_proj_qkvz.weight"
    case = replace(CASE, shapes={**CASE.shapes, name: shape})
    with pytest.raises(Error, match="in_proj_qkvz.weight' expects 384 rows"):
        recipes.converted(zoo.write(tmp_path / "m", case), pre=CASE.pre)
