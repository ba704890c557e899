"""Indices of an axis are taken by a pattern."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.take import Run, take
from tests.tensors.made import Made


def test_rows_and_columns_are_taken_in_the_order_of_a_pattern(made: Made) -> None:
    grouped = Run(start=8, length=4, inner=3, inner_step=12, outer=3, outer_step=4)
    made.check(
        take(made.leaf(44, 70, dtype="bf16"), 0, Run(0, 8), grouped),
        take(made.leaf(33, 44), 1, grouped),
        take(made.leaf(3, 12, 5, dtype="u8"), 1, Run(7, 2), Run(0, 1, 4, 3)),
        take(made.leaf(24, dtype="f16"), 0, Run(0, 1, 4, 6, 6, 1)),
        quantize("q8_0", take(made.leaf(44, 64, dtype="bf16"), 0, grouped)),
        stack([take(reshape(made.leaf(10, 1, 4, seed=n), (10, 4)), 0, Run(5, 5), Run(0, 5)) for n in range(2)]),
    )


def test_what_is_taken_is_told_exactly(made: Made) -> None:
    x = made.leaf(12, data=b"".join(n.to_bytes(4, "little") for n in range(12)))
    made.check(take(x, 0, Run(0, 2, 3, 4, 2, 2)))
    found = (made.folder / "out").read_bytes()[-64:][:48]
    assert [found[at] for at in range(0, 48, 4)] == [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]


def test_an_index_may_be_left_out_or_taken_twice(made: Made) -> None:
    made.check(take(made.leaf(6, 500), 0, Run(2, 2), Run(3, 1), Run(2, 1, 3, 0)))


@pytest.mark.parametrize(
    ("axis", "runs"),
    [
        (0, []),
        (2, [Run(0, 1)]),
        (-1, [Run(0, 1)]),
        (0, [Run(0, 7)]),
        (0, [Run(0, 0)]),
        (0, [Run(-1, 2)]),
        (0, [Run(0, 1, 2, 6)]),
        (1, [Run(0, 1, outer=3, outer_step=2)]),
    ],
)
def test_what_is_not_there_is_refused(made: Made, axis: int, runs: list[Run]) -> None:
    with pytest.raises(ValueError, match="along axis|no axis"):
        take(made.leaf(6, 4), axis, *runs)
