"""Quantized checkpoints whose scales or whose configuration lie: one error for each, from the headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from tests.at_length import examples
from tests.tensors.formats import golden

from .. import checkpoints
from .test_checkpoint_lies import Change, both, config, convert_folder, weights, write

FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
STEM = "model.layers.0.self_attn.q_proj"
WEIGHT: tuple[str, tuple[int, ...], bytes] = ("F8_E4M3", (256, 256), bytes(65536))


def tensor(dtype: str, *shape: int) -> tuple[str, tuple[int, ...], bytes]:
    bits = {"F32": 32, "F8_E4M3": 8, "U32": 32, "BF16": 16, "I64": 64, "U8": 8, "I32": 32}[dtype]
    size = 1
    for extent in shape:
        size *= extent
    return dtype, shape, bytes(size * bits // 8)


def fp8(quantization: Any, *, without: str = "-", **more: tuple[str, tuple[int, ...], bytes]) -> Change:
    """One projection in fp8, with the tensors `q_proj<key>`, `__` for a dot."""
    added = {STEM + key.replace("__", "."): value for key, value in more.items()}
    return both(
        config(quantization_config=quantization),
        weights(
            lambda found: {
                **{name: value for name, value in found.items() if without not in name},
                **({} if without == f"{STEM}.weight" else {f"{STEM}.weight": WEIGHT}),
                **added,
            }
        ),
    )


def compressed(**changes: Any) -> dict[str, Any]:
    group = {"weights": {"strategy": "channel", "num_bits": 8, "type": "float"}}
    return {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"a": group}, **changes}


def group(**changes: Any) -> dict[str, Any]:
    return {"config_groups": {"a": {"weights": {"strategy": "channel", **changes}}}}


GRID = tensor("F32", 2, 2)
NVFP4 = compressed(format="nvfp4-pack-quantized")
MODELOPT = {"quant_method": "modelopt", "quant_algo": "NVFP4"}

LIES: Mapping[str, Change] = {
    "scales-too-few": fp8(FP8, __weight_scale_inv=tensor("F32", 1, 2)),
    "scales-too-many": fp8(FP8, __weight_scale_inv=tensor("F32", 4, 4)),
    "scales-one-dimension": fp8(FP8, __weight_scale_inv=tensor("F32", 4)),
    "scales-scalar-in-blocks": fp8(FP8, __weight_scale_inv=tensor("F32")),
    "scales-missing": fp8(FP8),
    "scales-of-no-weights": fp8(FP8, __weight_scale_inv=GRID, __other_scale_inv=GRID),
    "scales-dtype": fp8(FP8, __weight_scale_inv=tensor("U32", 2, 2)),
    "scales-without-a-method": fp8(..., __weight_scale_inv=GRID),
    "scales-of-another-method": fp8(FP8, __weight_scale=tensor("F32")),
    "scales-per-row-too-few": fp8(compressed(), __weight_scale=tensor("F32", 255, 1)),
    "scales-of-more-dimensions": fp8(compressed(), __weight_scale=tensor("F32", 256, 1, 1)),
    "block-zero": fp8({**FP8, "weight_block_size": [0, 128]}, __weight_scale_inv=GRID),
    "block-text": fp8({**FP8, "weight_block_size": "128x128"}, __weight_scale_inv=GRID),
    "block-absurd": fp8({**FP8, "weight_block_size": [1 << 40, 128]}, __weight_scale_inv=GRID),
    "block-three": fp8({**FP8, "weight_block_size": [1, 2, 3]}, __weight_scale_inv=GRID),
    "config-no-object": fp8("fp8", __weight_scale_inv=GRID),
    "compressed-format": fp8(compressed(format="pack-quantized")),
    "compressed-no-groups": fp8(compressed(config_groups={})),
    "compressed-two-groups": fp8(compressed(config_groups={"a": {}, "b": {}})),
    "compressed-strategy": fp8(compressed(**group(strategy="token")), __weight_scale=tensor("F32")),
    "compressed-group-size": fp8(compressed(**group(group_size=64)), __weight_scale=tensor("F32", 256, 4)),
    "gptq": config(quantization_config={"quant_method": "gptq", "bits": 4}),
    "nvfp4-scales-missing": fp8(NVFP4, __weight_packed=tensor("U8", 256, 128), without=f"{STEM}.weight"),
    "nvfp4-scales-too-few": fp8(MODELOPT, __weight=tensor("U8", 256, 128), __weight_scale=tensor("F8_E4M3", 256, 15)),
    "nvfp4-rows": fp8(MODELOPT, __weight=tensor("U8", 256, 120), __weight_scale=tensor("F8_E4M3", 256, 15)),
    "nvfp4-two-scales": fp8(
        MODELOPT,
        __weight=tensor("U8", 256, 128),
        __weight_scale=tensor("F8_E4M3", 256, 16),
        __weight_scale_2=tensor("F32", 2),
    ),
    "packed-shape": fp8(
        compressed(format="pack-quantized", **group(strategy="group", num_bits=4, group_size=32)),
        __weight_packed=tensor("I32", 256, 32),
        __weight_scale=tensor("BF16", 256, 8),
        __weight_shape=tensor("I64", 3),
        without=f"{STEM}.weight",
    ),
    "packed-bits": fp8(compressed(format="pack-quantized", **group(strategy="group", num_bits="4", group_size=32))),
    "modelopt-no-object": write("hf_quant_config.json", '{"producer": 1, "quantization": []}'),
    "modelopt-garbage": write("hf_quant_config.json", "{"),
    "awq": both(config(quantization_config={"quant_method": "awq"}), write("README.md", "---\nbase_model: org/plain\n---\n")),
    "bitsandbytes": config(quantization_config={"quant_method": "bitsandbytes"}),
    "mxfp4-of-llama": config(quantization_config={"quant_method": "mxfp4"}),
    "packed-without-a-method": weights(lambda found: {**found, f"{STEM}.qweight": tensor("I64", 4, 4)}),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    LIES[lie](folder)
    golden.check(f"fp8-{lie}", golden.complaint(lambda: convert_folder(folder)))


def test_every_golden_has_its_case() -> None:
    assert golden.unused("fp8-", {f"fp8-{lie}" for lie in LIES}) == set()


MEMBERS = ["weights", "strategy", "block_structure", "quant_algo", "name", "num_bits", "group_size"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.sampled_from(
        ["", "fp8", "modelopt", "float-quantized", "channel", "block", "group", "NVFP4", "pack-quantized", "nvfp4-pack-quantized"]
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = ["format", "config_groups", "weight_block_size", "quant_algo", "quantized_layers", "bits"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.write(tmp_path_factory.mktemp("fuzz") / "m")


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sampled_from(["fp8", "compressed-tensors", "modelopt", "mxfp4", None, 3]),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
    st.sampled_from([".weight_scale_inv", ".weight_scale", ".qscale_weight", ".weight_scale_2"]),
    st.lists(st.integers(0, 257), max_size=3),
)
def test_any_quantization_gives_a_recipe_or_an_error(
    folder: Path, method: Any, more: dict[str, Any], suffix: str, shape: list[int]
) -> None:
    change = fp8({"quant_method": method, **more}, **{suffix.replace(".", "__"): tensor("BF16", *shape[:2])})
    change(folder)
    try:
        convert_folder(folder)
    except Error as error:
        assert render(error)
