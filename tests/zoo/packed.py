"""Weights in fewer than eight bits: NVFP4 of ModelOpt and compressed-tensors, and whole numbers in words of 32 bits."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

from . import Case, llama, qwen3, qwen3_5, qwen3_moe
from .fp8 import compressed

Shape = tuple[int, ...]

LLAMA = llama.case({"hidden_size": 128, "intermediate_size": 192})
DENSE = {**qwen3.CONFIG, "intermediate_size": 128}
QWEN = Case(DENSE, qwen3.shapes(DENSE, tied=True), tokenizer="byte pairs")
FEW = {**qwen3_moe.CONFIG, "num_experts": 4, "moe_intermediate_size": 64}
EXPERTS = Case(FEW, qwen3_moe.shapes(FEW, tied=True), tokenizer="byte pairs")


def repacked(plain: Case, parts: dict[str, tuple[str, Any]], **options: Any) -> Case:
    """A case with its projections in parts: end of the name -> dtype, shape by rows and columns."""
    shapes: dict[str, Shape] = {}
    dtypes: dict[str, str] = {}
    for name, shape in plain.shapes.items():
        projects = name.endswith(("_proj.weight", ".in_proj_qkv.weight", ".in_proj_z.weight", ".in_proj_a.weight"))
        if not projects or name.startswith("mtp."):
            shapes[name] = shape
            continue
        for end, (dtype, size) in parts.items():
            part = name.removesuffix(".weight") + end
            shapes[part] = size(*shape)
            dtypes[part] = dtype
    config = {**plain.config, **options.pop("config", {})}
    return replace(plain, config=config, shapes=shapes, dtypes=dtypes, logits=False, **options)


def beside(algorithm: str, **more: Any) -> dict[str, str]:
    told = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": algorithm, **more}}
    return {"hf_quant_config.json": json.dumps(told)}


HALF = ("u8", lambda r, c: (r, c // 2))
SIXTEENTH = ("f8_e4m3", lambda r, c: (r, c // 16))
ONE = ("f32", lambda r, c: ())
MODELOPT = {".weight": HALF, ".weight_scale": SIXTEENTH, ".weight_scale_2": ONE, ".input_scale": ONE}
SECOND = ("f32", lambda r, c: (1,))
COMPRESSED = {
    ".weight_packed": HALF, ".weight_scale": SIXTEENTH, ".weight_global_scale": SECOND, ".input_global_scale": SECOND,
}  # fmt: skip
NVFP4 = {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}


def ones(case: Case, *ends: str) -> Case:
    """The case with scales of one."""
    return replace(case, given={name: struct.pack("<f", 1) for name in case.shapes if name.endswith(ends)})


def integers(plain: Case, bits: int, group: int, zeros: bool = False) -> Case:
    per = 32 // bits
    parts = {
        ".weight_packed": ("i32", lambda r, c: (r, -(-c // per))),
        ".weight_scale": ("bf16", lambda r, c: (r, c // group)),
        ".weight_shape": ("i64", lambda r, c: (2,)),
    }
    if zeros:
        parts[".weight_zero_point"] = ("i32", lambda r, c: (-(-r // per), c // group))
    weights = {"strategy": "group", "group_size": group, "num_bits": bits, "type": "int"}
    case = repacked(plain, parts, config={"quantization_config": compressed("pack-quantized", **weights)})
    sizes = {name.removesuffix(".weight"): shape for name, shape in plain.shapes.items()}
    given = {
        name: struct.pack("<2q", *sizes[name.removesuffix(".weight_shape")])
        for name in case.shapes
        if name.endswith("_shape")
    }
    return replace(case, given=given)


def mixed() -> Case:
    """The feed forward in NVFP4, attention in fp8 with a scale for each tensor; the down projections without 4-bit activations."""
    blocks = int(LLAMA.config["num_hidden_layers"])
    case = repacked(LLAMA, MODELOPT)
    shapes, dtypes = dict(case.shapes), dict(case.dtypes)
    for name in case.shapes:
        if ".self_attn." in name and name.endswith((".weight_scale", ".weight_scale_2")):
            shapes.pop(name)
            if name.endswith(".weight_scale"):
                shapes[name], dtypes[name] = (), "f32"
        elif ".self_attn." in name and name.endswith("_proj.weight"):
            shapes[name], dtypes[name] = LLAMA.shapes[name], "f8_e4m3"
    layers = {
        f"model.layers.{n}.mlp.{part}_proj": {"quant_algo": "W4A16_NVFP4" if part == "down" else "NVFP4"}
        for n in range(blocks)
        for part in ("gate", "up", "down")
    }
    layers |= {f"model.layers.{n}.self_attn": {"quant_algo": "FP8"} for n in range(blocks)}
    files = beside("MIXED_PRECISION", quantized_layers=layers)
    return replace(case, shapes=shapes, dtypes=dtypes, files=files)


HEADS = {
    **qwen3_5.CONFIG, "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "head_dim": 32,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_value_head_dim": 32, "mtp_num_hidden_layers": 1,
}  # fmt: skip
TILES = Case(HEADS, qwen3_5.shapes(HEADS), tokenizer="byte pairs", newer=True)

CASES = {
    "Llama, modelopt NVFP4": repacked(LLAMA, MODELOPT, files=beside("NVFP4")),
    "Llama, modelopt NVFP4 said by config.json, scales of one, in shards": ones(
        repacked(LLAMA, MODELOPT, config=NVFP4, shards=3), ".input_scale", "q_proj.weight_scale_2"
    ),
    "Qwen3, NVFP4 with activations of 16 bits": repacked(
        QWEN, {key: value for key, value in MODELOPT.items() if key != ".input_scale"}, files=beside("W4A16_NVFP4")
    ),
    "Llama, NVFP4 beside fp8": mixed(),
    "Qwen3 with experts, modelopt NVFP4": repacked(EXPERTS, MODELOPT, files=beside("NVFP4")),
    "Llama, compressed-tensors NVFP4": repacked(
        LLAMA, COMPRESSED, config={"quantization_config": compressed("nvfp4-pack-quantized", num_bits=4)}
    ),
    "Qwen3 with experts, compressed-tensors NVFP4": repacked(
        EXPERTS, COMPRESSED, config={"quantization_config": compressed("nvfp4-pack-quantized", num_bits=4)}
    ),
    "Qwen3.5 with heads of values in tiles, modelopt NVFP4": repacked(TILES, MODELOPT, files=beside("NVFP4")),
    "Llama, four bits in groups": integers(LLAMA, 4, 32),
    "Llama, four bits in groups with zero points": integers(LLAMA, 4, 64, zeros=True),
    "Qwen3, eight bits in groups": integers(QWEN, 8, 32),
}
