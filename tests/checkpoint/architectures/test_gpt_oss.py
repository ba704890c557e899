"""GPT-OSS: what transformers fills in, the type a file is called by, and MXFP4 that is not whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import recipes, zoo

PACKED = zoo.cases("gpt_oss")["mxfp4"]
FLOATS = zoo.cases("gpt_oss")["bf16"]
EXPERTS = "model.layers.0.mlp.experts."


def convert(folder: Path, case: zoo.Case, outtype: str = "auto", **config: Any) -> Recipe:
    case = replace(case, config={**case.config, **config})
    return recipes.converted(zoo.write(folder, case), outtype, case.pre)


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "gpt_oss"})
    wanted = {
        "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 150000.0,
        "sliding_window": 128, "num_local_experts": 128, "num_experts_per_tok": 4,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert (full["rope_scaling"]["rope_type"], full["rope_scaling"]["factor"]) == ("yarn", 32.0)
    assert complete({"model_type": "gpt_oss", "rope_scaling": None})["rope_scaling"] is None
    assert complete({"model_type": "gpt_oss", "head_dim": None})["head_dim"] == 45


@pytest.mark.parametrize(
    ("outtype", "packed", "floats"),
    [("auto", 38, 32), ("f32", 38, 0), ("f16", 38, 1), ("bf16", 38, 32), ("q8_0", 7, 7)],
)
def test_a_file_is_called_after_its_experts(outtype: str, packed: int, floats: int, tmp_path: Path) -> None:
    for case, wanted in ((PACKED, packed), (FLOATS, floats)):
        recipe = convert(tmp_path / str(wanted), case, outtype)
        assert decode_value(recipe.metadata["general.file_type"]) == wanted


def test_packed_experts_come_first_and_stay_as_they_are(tmp_path: Path) -> None:
    recipe = convert(tmp_path, PACKED, "q8_0")
    assert [entry.name for entry in recipe.tensors[:7]] == [
        "blk.0.ffn_down_exps.weight", "blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight", "blk.1.ffn_down_exps.weight",
        "blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight", "output.weight",
    ]  # fmt: skip
    assert {entry.expression.dtype for entry in recipe.tensors[:6]} == {"mxfp4"}
    same = convert(tmp_path, PACKED, "f16")
    assert [entry.expression.key for entry in same.tensors[:6]] == [e.expression.key for e in recipe.tensors[:6]]


@pytest.mark.parametrize("name", ["gate_up_proj", "down_proj"])
@pytest.mark.parametrize(("part", "message"), [("scales", "lacks its scales"), ("blocks", "lacks the values")])
def test_half_a_packed_tensor_is_an_error(name: str, part: str, message: str, tmp_path: Path) -> None:
    shapes = {key: shape for key, shape in PACKED.shapes.items() if key != f"{EXPERTS}{name}_{part}"}
    with pytest.raises(Error, match=message):
        convert(tmp_path, replace(PACKED, shapes=shapes))


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "message"),
    [
        ("down_proj_blocks", (4, 64, 3, 8), "u8", "sixteen for each scale"),
        ("down_proj_blocks", (4, 64, 48), "u8", "sixteen for each scale"),
        ("down_proj_blocks", (4, 64, 3, 16), "bf16", "got bf16"),
        ("down_proj_scales", (4, 64, 2), "u8", "sixteen for each scale"),
        ("down_proj_scales", (4, 192), "u8", "expects 3 dimensions"),
        ("gate_up_proj_bias", (4,), "bf16", "expects 2 dimensions"),
        ("gate_up_proj_bias", (4, 3), "bf16", "the same number of gate and up rows"),
    ],
)
def test_experts_of_another_shape_are_an_error(
    name: str, shape: tuple[int, ...], dtype: str, message: str, tmp_path: Path
) -> None:
    shapes = {**PACKED.shapes, EXPERTS + name: shape}
    with pytest.raises(Error, match=message):
        convert(tmp_path, replace(PACKED, shapes=shapes, dtypes={**PACKED.dtypes, EXPERTS + name: dtype}))


@pytest.mark.parametrize("name", ["2.mlp.experts.down_proj", "0.mlp.experts.gate_up_proj.weight", "0.mlp.up_proj"])
def test_other_experts_cannot_be_mapped(name: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot be mapped"):
        convert(tmp_path, replace(FLOATS, shapes={**FLOATS.shapes, f"model.layers.{name}": (4, 64, 2)}))


def test_bytes_that_are_not_packed_are_numbers(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    recipe = convert(tmp_path, replace(PACKED, dtypes={**PACKED.dtypes, name: "u8"}))
    found = next(entry.expression for entry in recipe.tensors if entry.name == "blk.0.attn_q.weight")
    assert (found.dtype, found.operands[0].dtype, found.operands[0].operands[0].dtype) == ("bf16", "f32", "u8")


def test_a_window_is_needed(tmp_path: Path) -> None:
    with pytest.raises(Error, match="'sliding_window' expects a whole number"):
        convert(tmp_path, PACKED, sliding_window=None)
