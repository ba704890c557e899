"""Rows of zeros after those of each matrix."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.pad import pad
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.transpose import transpose
from tests.tensors.made import Made


def test_rows_of_zeros_follow(made: Made) -> None:
    made.check(
        pad(made.leaf(3, 70), 8),
        pad(made.leaf(5, 3, 7, dtype="bf16"), 4),
        cast("f32", transpose(pad(transpose(made.leaf(33, 2, dtype="f16")), 5))),
        stack([pad(made.leaf(2, 6), 3), made.leaf(3, 6, seed=1)]),
    )


def test_the_same_height_is_no_operation(made: Made) -> None:
    assert pad(made.leaf(3, 5), 3) == made.leaf(3, 5)


@pytest.mark.parametrize("shape", [(9, 50), (4,)])
def test_others_are_refused(shape: tuple[int, ...], made: Made) -> None:
    with pytest.raises(ValueError, match="cannot be padded to 8 rows"):
        pad(made.leaf(*shape), 8)
