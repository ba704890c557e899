"""Qwen3.5: the order of its heads of values, what it does to its tensors, and configurations that fit no weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.errors import Error, Errors
from modelbuild.steps import convert
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

TEXT = zoo.cases("qwen3_5")["text"]
HEADS = "linear_num_value_heads"


def values(folder: Path, case: zoo.Case = TEXT) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """The tensors of the f32 file."""
    recipe = recipes.converted(folder, "f32", case.pre)
    leaves = recipes.Folder(folder).leaves()
    return {
        entry.name: np.frombuffer(recipes.evaluate(entry.expression, leaves), "<f4").reshape(entry.shape)
        for entry in recipe.tensors
    }


def source(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    _, shape, data = zoo.tensor(name, "bf16", TEXT.shapes[name])
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)


def test_heads_of_values_of_one_key_stand_apart(tmp_path: Path) -> None:
    """Two keys with three heads of values each, of 32 rows: the order in the file is 0 3 1 4 2 5."""
    found = values(zoo.write(tmp_path / "m", TEXT))
    order, stem = [0, 3, 1, 4, 2, 5], "model.layers.0.linear_attn"
    rows = [head * 32 + row for head in order for row in range(32)]
    behind = [*range(128), *(128 + row for row in rows)]
    assert np.array_equal(found["blk.0.attn_gate.weight"], source(f"{stem}.in_proj_z.weight")[rows])
    assert np.array_equal(found["blk.0.attn_qkv.weight"], source(f"{stem}.in_proj_qkv.weight")[behind])
    assert np.array_equal(found["blk.0.ssm_alpha.weight"], source(f"{stem}.in_proj_a.weight")[order])
    assert np.array_equal(found["blk.0.ssm_beta.weight"], source(f"{stem}.in_proj_b.weight")[order])
    assert np.array_equal(found["blk.0.ssm_out.weight"], source(f"{stem}.out_proj.weight")[:, rows])
    assert np.array_equal(found["blk.0.ssm_conv1d.weight"], source(f"{stem}.conv1d.weight")[behind, 0])
    assert np.array_equal(found["blk.0.ssm_dt.bias"], source(f"{stem}.dt_bias")[order])
    decays = -np.exp(source(f"{stem}.A_log")[order].astype(np.float64)).astype(np.float32)
    assert np.array_equal(found["blk.0.ssm_a"], decays)
    assert np.array_equal(found["blk.0.ssm_norm.weight"], source(f"{stem}.norm.weight"))
    assert np.array_equal(found["blk.0.attn_norm.weight"], source("model.layers.0.input_layernorm.weight") + 1)


def test_sections_of_the_rotary_embedding_are_always_there(tmp_path: Path) -> None:
    for number, rope in enumerate(({**TEXT.config["rope_parameters"]}, {"rope_theta": 1e4, "rope_type": "default"})):
        case = replace(TEXT, config={**TEXT.config, "rope_parameters": rope})
        metadata = recipes.converted(zoo.write(tmp_path / str(number) / "m", case), pre=case.pre).metadata
        assert decode_value(metadata["qwen35.rope.dimension_sections"]) == ([4, 2, 2, 0], [11, 11, 10, 0])[number]
        assert decode_value(metadata["qwen35.rope.dimension_count"]) == (16, 8)[number]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({HEADS: 0}, f"'{HEADS}' expects a whole number"),
        ({HEADS: 5}, f"'{HEADS}' expects a multiple of linear_num_key_heads, 2, got 5"),
        ({HEADS: 8}, "A_log' expects 8 values, got [6]"),
        ({HEADS: 1 << 40}, f"'{HEADS}' expects a whole number"),
        ({"linear_num_key_heads": "2"}, "'linear_num_key_heads' expects a whole number"),
        ({"linear_key_head_dim": ...}, "'linear_key_head_dim' expects a whole number of at least 1, which is missing"),
        ({"linear_value_head_dim": 64}, "expects 512 rows"),
        ({"linear_conv_kernel_dim": 3}, "do not have the shape"),
        ({"layer_types": ["linear_attention"]}, "'layer_types' expects 4 kinds, one for each block, got 1"),
        ({"layer_types": 7}, "'layer_types' expects 4 kinds"),
        ({"layer_types": ["linear_attention"] * 4}, "lacks"),
        ({"full_attention_interval": 0}, "'full_attention_interval' expects a whole number"),
        ({"head_dim": "32"}, "'head_dim' expects a whole number"),
        (
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": float("nan")}},
            "'partial_rotary_factor' expects",
        ),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 2}}, "'partial_rotary_factor' expects"),
        ({"num_attention_heads": 8}, "do not have the shape"),
    ],
)
def test_a_configuration_that_fits_no_weights_is_an_error_that_names_the_key(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    config = {key: value for key, value in {**TEXT.config, **changes}.items() if value is not ...}
    folder = zoo.write(tmp_path / "m", replace(TEXT, config=config))
    with pytest.raises((Error, Errors)) as caught:
        convert.look({"outtype": "f16", "folder": "m", "pre": TEXT.pre}, recipes.Folder(folder))
    errors = caught.value.errors if isinstance(caught.value, Errors) else [caught.value]
    assert any(text in str(error) for error in errors), [*map(str, errors)]


@pytest.mark.parametrize(
    "name", ["linear_attn.A_log", "linear_attn.dt_bias", "linear_attn.conv1d.weight", "self_attn.q_norm.weight"]
)
def test_a_tensor_that_is_missing_is_an_error(tmp_path: Path, name: str) -> None:
    lost = next(each for each in TEXT.shapes if each.endswith(name))
    case = replace(TEXT, shapes={each: shape for each, shape in TEXT.shapes.items() if each != lost})
    with pytest.raises(Errors, match="lacks 1 tensor that this architecture has"):
        convert.look(
            {"outtype": "f16", "folder": "m", "pre": TEXT.pre}, recipes.Folder(zoo.write(tmp_path / "m", case))
        )
