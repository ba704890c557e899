"""Tensors are put side by side."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.concat import concat
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.transpose import transpose
from tests.tensors.made import Made


def test_tensors_are_put_side_by_side(made: Made) -> None:
    x = made.leaf(30, 64, dtype="bf16")
    made.check(
        concat([made.leaf(3, 40, seed=1), made.leaf(17, 40, seed=2), made.leaf(1, 40, seed=3)]),
        concat([made.leaf(9, 5, dtype="u8"), made.leaf(9, 12, dtype="u8")], 1),
        concat([transpose(made.leaf(2, 4, 3)), made.leaf(2, 3, 7)], 2),
        concat([made.leaf(5, dtype="f16"), made.leaf(8, dtype="f16")]),
        quantize("q8_0", concat([slice_(x, 0, 20, 30), slice_(x, 0, 0, 20)])),
    )


def test_one_is_itself(made: Made) -> None:
    x = made.leaf(5, 12)
    assert concat([x], 1) is x


@pytest.mark.parametrize(
    ("shape", "dtype", "axis"), [((4, 5), "f32", 0), ((4,), "f32", 0), ((4, 6), "f16", 0), ((4, 6), "f32", 2)]
)
def test_what_does_not_fit_is_refused(made: Made, shape: tuple[int, ...], dtype: str, axis: int) -> None:
    with pytest.raises(ValueError, match="axis"):
        concat([made.leaf(4, 6), made.leaf(*shape, dtype=dtype)], axis)
