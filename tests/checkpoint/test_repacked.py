"""Packed weights in the file that is made: order, scales, metadata, and what the runtime makes of them."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.checkpoint.repacked import arranged, doubts, faults
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.nvfp4 import nvfp4
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from tests import recipes, zoo

CASES = zoo.cases("packed")
MODELOPT = CASES["Llama, modelopt NVFP4"]
EXPERTS = CASES["Qwen3 with experts, modelopt NVFP4"]


def conversion(case: zoo.Case, folder: Path) -> Conversion:
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="model", outtype="f16", pre=case.pre)


def test_packed_tensors_come_first_with_their_scales_behind_them(tmp_path: Path) -> None:
    made = conversion(MODELOPT, tmp_path)
    names = [entry.name for entry in made.entries]
    assert names[:3] == [f"blk.0.ffn_down.{end}" for end in ("weight", "scale", "input_scale")]
    packed = [entry.name for entry in made.entries if entry.expression.dtype == "nvfp4"]
    assert len(packed) == 14 and names.index("token_embd.weight") > names.index(packed[-1])
    assert decode_value(made.described["general.file_type"]) == 39
    assert made.faults() == []


def test_an_expert_without_a_scale_has_one(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.1.up_proj.weight_scale_2"
    shapes = {key: shape for key, shape in EXPERTS.shapes.items() if key != name}
    made = conversion(replace(EXPERTS, shapes=shapes), tmp_path)
    scales = next(e.expression for e in made.entries if e.name == "blk.0.ffn_up_exps.scale")
    assert scales.shape == (4,)
    assert struct.unpack("<f", made.recipe.constants[scales.operands[1].digest]) == (1.0,)


def test_scales_about_one_are_left_out(tmp_path: Path) -> None:
    (near,) = struct.unpack("<f", struct.pack("<I", 0x3F800004))
    for value, kept in ((1.0, False), (near, False), (1.00001, True)):
        name = "model.layers.0.self_attn.q_proj.weight_scale_2"
        folder = tmp_path / str(value)
        made = conversion(replace(MODELOPT, given={name: struct.pack("<f", value)}), folder)
        assert ("blk.0.attn_q.scale" in {entry.name for entry in made.entries}) == kept, value


@pytest.mark.parametrize(
    ("shape", "dtype", "what"),
    [((2,), "f32", "expects one scale for the whole tensor, got f32"), ((1,), "u8", "expects one scale")],
)
def test_scales_that_are_not_one_for_a_tensor(tmp_path: Path, shape: tuple[int, ...], dtype: str, what: str) -> None:
    name = "model.layers.0.self_attn.q_proj.weight_scale_2"
    case = replace(MODELOPT, shapes={**MODELOPT.shapes, name: shape}, dtypes={**MODELOPT.dtypes, name: dtype})
    with pytest.raises(Error, match=what):
        _ = conversion(case, tmp_path).entries


def test_layers_that_are_not_there(tmp_path: Path) -> None:
    told = {"quant_algo": "MIXED_PRECISION", "quantized_layers": {"model.layers.9.mlp": {"quant_algo": "NVFP4"}}}
    files = {"hf_quant_config.json": json.dumps({"producer": {"name": "modelopt"}, "quantization": told})}
    with pytest.raises(Error, match="'quantized_layers' names 'model.layers.9.mlp', of which the checkpoint has no"):
        _ = conversion(replace(MODELOPT, files=files), tmp_path).described


def test_packed_weights_that_would_have_to_be_changed(tmp_path: Path) -> None:
    plain = zoo.cases("gemma")
    case = next(iter(plain.values()))
    name = "model.layers.0.input_layernorm.weight"
    shapes = {**case.shapes, name: (2, 32), f"{name}_scale": (2, 4)}
    config = {**case.config, "quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}
    case = replace(case, config=config, shapes=shapes, dtypes={name: "u8", f"{name}_scale": "f8_e4m3"})
    with pytest.raises(
        Error, match="packed weights that this architecture cannot take: cannot add one to nvfp4 values"
    ):
        _ = conversion(case, tmp_path).entries
    x = nvfp4(leaf("", "u8", (64, 32), "a.weight"), leaf("", "f8_e4m3", (64, 4)))
    for changed in (transpose(x), cast("f16", dequantize(x)), permute(transpose(x), 2)):
        with pytest.raises(Error, match="'a.weight' is nvfp4, of which 'b.weight' cannot be made"):
            arranged([("b.weight", changed)], {}, None)


def test_experts_of_which_some_are_packed(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.1.up_proj.weight"
    shapes = {key: shape for key, shape in EXPERTS.shapes.items() if not key.startswith(f"{name}_")}
    case = replace(EXPERTS, shapes={**shapes, name: (64, 64)}, dtypes={**EXPERTS.dtypes, name: "bf16"})
    with pytest.raises(Error, match="some experts of block 0 are nvfp4 in their 'up_proj', and others are not"):
        _ = conversion(case, tmp_path).entries


def named(*stems: str, also: tuple[str, ...] = ()) -> list[tuple[str, Expression]]:
    """Tensors in NVFP4 with scales, and others."""
    packed = [(f"{stem}.weight", leaf("", "nvfp4", (64, 64))) for stem in stems]
    return [*packed, *((name, leaf("", "f32", (1,))) for name in (*(f"{stem}.scale" for stem in stems), *also))]


def test_scales_that_the_runtime_does_not_load_or_ends_itself_at() -> None:
    (error,) = faults(named("token_embd", "blk.0.attn_q", "output"))
    assert "does not load" in error.what and error.facts == (("tensors", "token_embd"),)
    (error,) = faults(named("blk.0.ffn_up", "blk.0.attn_q", also=("blk.0.ffn_up.bias", "blk.0.attn_q.bias")))
    assert "ends itself" in error.what
    assert not [*faults([("blk.0.ffn_gate_inp.scale", leaf("", "f32", (64,)))])]


@pytest.mark.parametrize(
    ("architecture", "stem", "told"),
    [("gemma3", "ffn_up", True), ("llama", "ffn_up", False), ("gpt-oss", "ffn_up_exps", True), ("gemma3", "attn_q", False)],
)  # fmt: skip
def test_scales_that_the_runtime_does_not_apply(architecture: str, stem: str, told: bool) -> None:
    found: list[Any] = list(doubts(named(f"blk.0.{stem}"), architecture))
    assert bool(found) == told


def test_scales_in_blocks_for_further_tokens() -> None:
    found = named("blk.0.ffn_up", "blk.1.ffn_up", also=("blk.1.nextn.eh_proj.weight",))
    (error,) = doubts(found, "qwen35")
    assert "blocks for further tokens" in error.what and error.facts == (("tensors", "blk.1.ffn_up"),)
    # A draft has no others, and is loaded as one.
    assert not [*doubts([each for each in found if each[0].startswith("blk.1.")], "qwen35")]
