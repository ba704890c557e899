"""Rows of rotary heads, reordered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.stack import stack
from tests.tensors.made import Made, Weights, bf16


def test_rows_are_permuted(made: Made) -> None:
    x = made.leaf(48, 64, dtype="bf16")
    made.check(
        permute(x, 1), permute(x, 4), permute(x, 24), permute(made.leaf(48), 4),
        quantize("q4_k", permute(made.leaf(32, 256, dtype="bf16"), 4)),
        quantize("q8_0", stack([permute(x, 4), permute(x, 4)])),
        permute(slice_(x, 0, 0, 48, 2), 4),
    )  # fmt: skip


@pytest.mark.parametrize("memory", [1 << 16, 64 << 20])
def test_permute_moves_halves_to_pairs(weights: Weights, tmp_path: Path, memory: int) -> None:
    weights.memory = memory
    data = bf16((64, 96))
    weights.make(tmp_path / "out", ("q", permute(weights.add("bf16", (64, 96), data), 4)))
    rows = np.frombuffer(data, np.uint16).reshape(4, 2, 8, 96).swapaxes(1, 2)
    assert (tmp_path / "out").read_bytes().endswith(rows.tobytes())
