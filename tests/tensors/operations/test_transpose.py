"""The last two axes are exchanged."""

from __future__ import annotations

from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.transpose import transpose
from tests.tensors.made import Made


def test_axes_are_exchanged(made: Made) -> None:
    made.check(
        transpose(made.leaf(33, 70, dtype="bf16")),
        transpose(made.leaf(5, 12, 40)),
        transpose(made.leaf(2, 3, 4, 5, dtype="u8")),
        quantize("q8_0", transpose(made.leaf(4, 64, 20, dtype="bf16"))),
        stack([transpose(made.leaf(8, 16)), transpose(made.leaf(8, 16, seed=1))]),
    )


def test_twice_is_not_at_all(made: Made) -> None:
    x = made.leaf(5, 12)
    assert transpose(transpose(x)) is x
