"""Some indices of an axis."""

from __future__ import annotations

import pytest

from modelbuild.tensors.evaluate import Mismatch
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.transpose import transpose
from tests.tensors.made import Made

SLICES = [
    (axis, start, stop, step)
    for axis in (0, 1, 2)
    for start, stop, step in ((0, 3, 1), (2, 6, 1), (0, 6, 2), (1, 6, 2), (1, 2, 1), (5, 6, 1), (0, 5, 3))
]


@pytest.mark.parametrize("dtype", ["f32", "bf16", "u8"])
def test_slices_of_every_axis(made: Made, dtype: str) -> None:
    x = made.leaf(6, 6, 6, dtype=dtype)
    long = made.leaf(6, 700, dtype=dtype)
    made.check(
        *(slice_(x, *found) for found in SLICES),
        slice_(long, 0, 1, 5, 3),
        *(slice_(long, 1, start, 700, 2) for start in (0, 1)),
        slice_(slice_(long, 1, 1, 700, 2), 1, 3, 200, 2),
    )


def test_slices_of_what_comes_in_large_pieces(made: Made) -> None:
    x = made.leaf(3, 12, 20)
    flat = made.leaf(24, 20)
    turned, permuted = transpose(x), permute(flat, 3)
    made.check(
        *(slice_(turned, axis, 1, 3, step) for axis in (0, 1, 2) for step in (1, 2)),
        *(slice_(permuted, axis, 1, 17, step) for axis in (0, 1) for step in (1, 2)),
        slice_(stack([transpose(flat), transpose(flat)]), 2, 0, 24, 2),
        cast("f16", transpose(slice_(turned, 1, 0, 20, 2))),
        slice_(scale(made.leaf(40, 48, dtype="f8_e4m3"), made.leaf(3, 3), (16, 16)), 1, 0, 48, 2),
    )


PLACES = {
    "taken": lambda shape: (1, 1),
    "left out before": lambda shape: (0, 0),
    "left out between": lambda shape: (2, 2),
    "left out behind": lambda shape: (shape[0] - 1, shape[1] - 1),
}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("place", PLACES)
def test_a_changed_byte_is_noticed_wherever_it_lies(made: Made, place: str, axis: int) -> None:
    shape = (12, 1000)
    x = made.leaf(*shape, dtype="bf16")
    row, column = PLACES[place](shape)
    with made.path.open("r+b") as file:
        file.seek((row * shape[1] + column) * 2)
        file.write(bytes([file.read(1)[0] ^ 1]))
    with pytest.raises(Mismatch):
        made.make(made.folder / "out", ("t", cast("f16", slice_(x, axis, 1, 4, 2))))
