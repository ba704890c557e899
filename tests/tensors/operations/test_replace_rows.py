"""Some rows of a matrix are others."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.replace_rows import replace_rows
from modelbuild.tensors.operations.slice import slice_
from tests.tensors.made import Made


def test_rows_are_replaced(made: Made) -> None:
    made.check(
        replace_rows(made.leaf(33, 70), made.leaf(3, 70, seed=1), (0, 32, 5)),
        replace_rows(made.leaf(33, 70, dtype="bf16"), made.leaf(1, 70, seed=1), (7,)),
        quantize(
            "q8_0", replace_rows(slice_(made.leaf(33, 64, dtype="f16"), 0, 0, 30), made.leaf(2, 64, seed=1), (29, 1))
        ),
    )


@pytest.mark.parametrize("indices", [(33,), (-1,), (1, 2)])
def test_rows_that_there_are_not_are_refused(indices: tuple[int, ...], made: Made) -> None:
    with pytest.raises(ValueError, match="cannot replace"):
        replace_rows(made.leaf(33, 70), made.leaf(1, 70), indices)
