"""Weights with scales, and dtypes that become f32 first: fp8 in every form of scales, int8, f64, whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import Case, llama, mistral, qwen3

Shape = tuple[int, ...]
Scales = Callable[[int, int], dict[str, Shape]]


def in_blocks(rows: int, columns: int, high: int = 128, wide: int = 128) -> dict[str, Shape]:
    return {".weight_scale_inv": (-(-rows // high), -(-columns // wide))}


def scaled(
    plain: Case, quantization: dict[str, Any] | None, scales: Scales, *, dtype: str = "f8_e4m3", wide: str = "f32", **options: Any
) -> Case:  # fmt: skip
    """A case with its projections in 8 bits, and the tensors that `scales` gives for each."""
    shapes: dict[str, Shape] = {}
    dtypes: dict[str, str] = {}
    for name, shape in plain.shapes.items():
        shapes[name] = shape
        if name.endswith("_proj.weight"):
            dtypes[name] = dtype
            for end, grid in scales(shape[0], shape[1]).items():
                shapes[name.removesuffix(".weight") + end] = grid
                dtypes[name.removesuffix(".weight") + end] = wide
    config = {**plain.config, "quantization_config": quantization} if quantization else plain.config
    return Case(config, shapes, dtypes=dtypes, logits=False, **options)


def compressed(form: str, **weights: Any) -> dict[str, Any]:
    groups = {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", **weights}}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": groups, "ignore": ["lm_head"]}


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
SMALL = {**FP8, "weight_block_size": [48, 40]}
LLAMA, QWEN = llama.case(), Case(qwen3.CONFIG, qwen3.shapes(qwen3.CONFIG, tied=True), tokenizer="sentencepiece")
LARGE = llama.case({"hidden_size": 192, "intermediate_size": 320})
MODELOPT = '{"producer": {"name": "modelopt", "version": "0.29"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}'

CASES = {
    "Llama, blocks, scales in f32": scaled(LARGE, FP8, in_blocks),
    "Llama, blocks that divide nothing, in shards": scaled(LARGE, SMALL, lambda r, c: in_blocks(r, c, 48, 40), shards=3),
    "Qwen3, blocks, scales in bf16": scaled(QWEN, SMALL, lambda r, c: in_blocks(r, c, 48, 40), wide="bf16"),
    "scales that are powers of two": scaled(LARGE, FP8, in_blocks, wide="f8_e8m0"),
    "Mistral, a scale for each tensor": scaled(
        next(iter(mistral.CASES.values())),
        {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None},
        lambda r, c: {".weight_scale_inv": (), ".activation_scale": ()},
        wide="bf16",
    ),
    "compressed-tensors, a scale for each row": scaled(
        LLAMA, compressed("float-quantized", strategy="channel"), lambda r, c: {".weight_scale": (r, 1)}, wide="bf16"
    ),
    "compressed-tensors, blocks": scaled(
        LARGE,
        compressed("float-quantized", strategy="block", block_structure=[128, 128]),
        lambda r, c: {".weight_scale": (-(-r // 128), -(-c // 128))},
    ),
    "compressed-tensors, int8": scaled(
        LLAMA, compressed("int-quantized", strategy="channel", type="int"), lambda r, c: {".weight_scale": (r, 1)}, dtype="i8"
    ),
    "modelopt": scaled(
        LLAMA,
        None,
        lambda r, c: {".weight_scale": (), ".input_scale": (), **({".k_scale": ()} if r == 32 else {})},
        files={"hf_quant_config.json": MODELOPT},
    ),
    "e5m2 without scales": scaled(LLAMA, None, lambda r, c: {}, dtype="f8_e5m2"),
    "f64": llama.case(dtype="f64", logits=False),
    "whole numbers": Case(
        LLAMA.config,
        LLAMA.shapes,
        dtypes={
            name: ("i8", "i16", "i32", "i64", "u8", "bool")[number % 6]
            for number, name in enumerate(name for name in LLAMA.shapes if ".layers." in name)
        },
        logits=False,
    ),
}  # fmt: skip
