"""One over each value."""

from __future__ import annotations

from modelbuild.tensors.operations.reciprocal import reciprocal
from tests.tensors.made import Made


def test_values_of_all_floats(made: Made) -> None:
    made.check(*(reciprocal(made.leaf(3, 5, dtype=dtype)) for dtype in ("f32", "f16", "bf16")))
