"""Floats packed into blocks."""

from __future__ import annotations

import numpy as np

from modelbuild.digest import xxh3
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.stack import stack
from tests import recipes
from tests.tensors.made import Made


def test_every_matrix_has_weights_of_its_own(made: Made) -> None:
    weights = np.abs(np.random.default_rng(3).standard_normal((3, 256), dtype=np.float32)).tobytes()
    importance = leaf(xxh3(weights), "f32", (3, 256))
    x = stack([made.leaf(9, 256, dtype="bf16", seed=n) for n in range(3)])
    expression = quantize("q4_k", x, importance)
    result = made.make(made.folder / "out", ("t", expression), weights=weights)
    expected = recipes.evaluate(expression, {**made.bytes, xxh3(weights): weights})
    assert result.spans[0].xxh3 == xxh3(expected)
