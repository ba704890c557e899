"""Packed weights: their values are those of the definition of each format, and what does not fit is told."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.checkpoint.packed import taken
from modelbuild.checkpoint.scaled import NVFP4, Packing
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.tensor import Tensor
from tests import recipes

from .test_weights import codes, made, tensors

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
RANDOM = np.random.default_rng(11)
INTS = Packing("ints", bits=4, group=32)


def floats(packed: Any) -> Any:
    """The values of bytes that hold two e2m1 each, the low nibble first."""
    nibbles = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    return np.where(nibbles & 8, -1, 1) * E2M1[nibbles & 7]


def table(**shapes: tuple[str, tuple[int, ...]]) -> dict[str, Tensor]:
    names = {name.replace("__", "."): form for name, form in shapes.items()}
    return {name: Tensor(name, dtype, shape, 0, 0) for name, (dtype, shape) in names.items()}


def test_nvfp4_of_both_methods(tmp_path: Path) -> None:
    packed, scales = RANDOM.integers(0, 256, (8, 64), np.uint8), codes(8, 8) & 127
    factors = np.array([recipes.eight_bits("f8_e4m3", code) for code in scales.ravel().tolist()], np.float32).reshape(
        8, 8
    )
    for end, packing in (("", NVFP4["modelopt"]), ("_packed", NVFP4["compressed-tensors"])):
        found, data = tensors(**{f"a__weight{end}": ("u8", packed), "a__weight_scale": ("f8_e4m3", scales)})
        expressions, used = taken(found, packing)
        assert {f"a.weight{end}", "a.weight_scale"} <= used and list(expressions) == ["a.weight"]
        assert expressions["a.weight"].dtype == "nvfp4"
        values = made(dequantize(expressions["a.weight"]), data, tmp_path)
        assert np.array_equal(values, floats(packed) * factors.repeat(16, axis=1))


@pytest.mark.parametrize("dtype", ["u8", "f8_e8m0"])
def test_mxfp4(tmp_path: Path, dtype: str) -> None:
    packed, exponents = RANDOM.integers(0, 256, (4, 48), np.uint8), RANDOM.integers(100, 140, (4, 3), np.uint8)
    found, data = tensors(a__weight_packed=("u8", packed), a__weight_scale=(dtype, exponents))
    expressions, _ = taken(found, Packing("mxfp4", group=32))
    values = made(dequantize(expressions["a.weight"]), data, tmp_path)
    assert np.array_equal(values, floats(packed) * 2.0 ** (exponents.astype(np.float32) - 127).repeat(32, axis=1))


def test_whole_numbers_in_groups(tmp_path: Path) -> None:
    words = RANDOM.integers(-(1 << 31), 1 << 31, (6, 8), np.int32)
    scales = RANDOM.random((6, 2), np.float32)
    size = np.frombuffer(struct.pack("<2q", 6, 64), "<i8")
    found, data = tensors(
        a__weight_packed=("i32", words), a__weight_scale=("f32", scales), a__weight_shape=("i64", size)
    )
    expressions, used = taken(found, INTS)
    assert used == set(found)
    digits = (words.view(np.uint32)[:, :, None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15).reshape(6, 64)
    expected = (digits.astype(np.float32) - 8) * scales.repeat(32, axis=1)
    assert np.array_equal(made(expressions["a.weight"], data, tmp_path), expected)


def test_modelopt_names_other_weights_as_it_names_nvfp4() -> None:
    found = table(
        a__weight=("f8_e4m3", (4, 64)),
        a__weight_scale=("f32", ()),
        b__weight=("bf16", (4, 64)),
        c__weight=("f8_e4m3", (4, 64)),
        c__weight_scale=("f32", (4, 1)),
    )
    assert taken(found, NVFP4["modelopt"]) == ({}, set())


BYTES, SCALES = ("u8", (4, 32)), ("f8_e4m3", (4, 4))


@pytest.mark.parametrize(
    ("packing", "shapes", "what"),
    [
        (NVFP4["compressed-tensors"], {"a__weight_packed": BYTES}, "lacks its scales"),
        (NVFP4["modelopt"], {"a__weight": BYTES, "a__weight_scale": ("f8_e4m3", (4, 5))}, "do not fit each other as nvfp4"),
        (NVFP4["modelopt"], {"a__weight": ("u8", (4, 24)), "a__weight_scale": ("f8_e4m3", (4, 3))}, "in rows of 64 values"),
        (NVFP4["modelopt"], {"a__weight": ("u8", (2, 4, 32)), "a__weight_scale": ("f8_e4m3", (2, 4, 4))}, "do not fit"),
        (NVFP4["modelopt"], {"a__weight": BYTES, "a__weight_scale": ("f32", (4, 4))}, "do not fit"),
        (NVFP4["modelopt"], {"a__weight": ("u8", (0, 32)), "a__weight_scale": ("f8_e4m3", (0, 4))}, "do not fit"),
        (NVFP4["compressed-tensors"], {"a__weight_packed": BYTES, "a__weight_scale": SCALES, "a__weight": ("bf16", (4, 64))}, "are both"),
        (Packing("mxfp4"), {"a__weight_packed": ("u8", (4, 24)), "a__weight_scale": ("u8", (4, 1))}, "in rows of 32 values"),
        (Packing("mxfp4"), {"a__weight_packed": ("u8", (4, 32)), "a__weight_scale": ("f32", (4, 2))}, "do not fit"),
        (INTS, {"a__weight_packed": ("i32", (4, 8)), "a__weight_scale": ("bf16", (4, 2))}, "lacks its shape"),
        (INTS, {"a__weight_packed": ("i32", (4, 8)), "a__weight_scale": ("bf16", (4, 3)), "a__weight_shape": ("i64", (2,))}, "groups of"),
        (INTS, {"a__weight_packed": ("i64", (4, 8)), "a__weight_scale": ("bf16", (4, 2)), "a__weight_shape": ("i64", (2,))}, "do not fit"),
        (INTS, {"a__weight_packed": ("i32", (4, 8)), "a__weight_scale": ("bf16", (3, 2)), "a__weight_shape": ("i64", (2,))}, "do not fit"),
        (INTS, {"a__weight_packed": ("i32", (4, 8)), "a__weight_scale": ("bf16", (4, 2)), "a__weight_shape": ("i64", ())}, "do not fit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(packing: Packing, shapes: dict[str, Any], what: str) -> None:
    with pytest.raises(Error, match=what):
        taken(table(**shapes), packing)


def test_a_shape_that_says_otherwise_is_told() -> None:
    found = table(a__weight_packed=("i32", (4, 8)), a__weight_scale=("bf16", (4, 2)), a__weight_shape=("i64", (2,)))
    shape = found["a.weight_shape"]
    found["a.weight_shape"] = Tensor(shape.name, "i64", (2,), 0, 16, xxh3(struct.pack("<2q", 4, 63)))
    with pytest.raises(Error, match="do not fit each other as ints"):
        taken(found, INTS)
