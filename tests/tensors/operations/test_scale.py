"""Blocks of values times their scales."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.scale import scale
from tests.tensors.made import Made


@pytest.mark.parametrize("dtype", ["f8_e4m3", "f8_e5m2", "i8"])
def test_blocks_are_scaled(made: Made, dtype: str) -> None:
    made.check(
        scale(made.leaf(40, 50, dtype=dtype), made.leaf(3, 4), (16, 16)),
        scale(made.leaf(128, 64, dtype=dtype), made.leaf(1, 1, dtype="bf16"), (128, 128)),
        scale(made.leaf(40, 50, dtype=dtype), made.leaf(40, 1), (1, 50)),
        scale(made.leaf(3, 20, 32, dtype=dtype), made.leaf(3, 2, 2), (16, 16)),
        cast("bf16", scale(made.leaf(40, 64, dtype=dtype), made.leaf(3, 2), (16, 32))),
        quantize("q4_0", permute(scale(made.leaf(32, 64, dtype=dtype), made.leaf(2, 2), (16, 32)), 4)),
    )  # fmt: skip
