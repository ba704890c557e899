"""Bytes that exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelbuild.digest import xxh3
from modelbuild.tensors.operations.leaf import leaf
from tests.tensors.made import Made, Weights


def test_bytes_are_taken_as_they_are(made: Made) -> None:
    kinds = ("f32", "f16", "bf16", "f64", "i8", "i32")
    made.check(
        *(made.leaf(9, 37, dtype=dtype) for dtype in kinds), made.leaf(5, 64, dtype="q8_0", data=bytes(range(170)) * 2)
    )


def test_constant_needs_no_source(weights: Weights, tmp_path: Path) -> None:
    data = np.arange(8, dtype=np.float32).tobytes()
    weights.make(tmp_path / "out", ("rope_freqs.weight", leaf(xxh3(data), "f32", (8,))), constant=data)
    assert (tmp_path / "out").read_bytes().endswith(data)
