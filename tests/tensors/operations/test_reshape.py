"""The same values have another shape."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from tests.tensors.made import Made


def test_values_keep_their_order(made: Made) -> None:
    made.check(
        reshape(transpose(made.leaf(12, 40)), (40, 3, 4)),
        reshape(reshape(transpose(made.leaf(12, 40, dtype="bf16")), (480,)), (2, 240)),
        transpose(reshape(transpose(made.leaf(6, 8)), (2, 4, 6))),
    )


def test_a_leaf_stays_one(made: Made) -> None:
    x = reshape(made.leaf(12, 40), (4, 120))
    assert (x.operation, x.shape) == ("leaf", (4, 120))
    assert reshape(x, (4, 120)) is x


def test_other_counts_are_refused(made: Made) -> None:
    with pytest.raises(ValueError, match=r"the values of \[12, 40\] do not make \[7\]"):
        reshape(made.leaf(12, 40), (7,))
