"""Rows get the lengths that they are given."""

from __future__ import annotations

import numpy as np
import pytest

from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.lengthen import lengthen
from modelbuild.tensors.operations.merge import merge
from tests.tensors.made import Made


def test_rows_have_their_lengths(made: Made) -> None:
    made.check(
        lengthen(made.leaf(33, 70), made.leaf(33, seed=1)),
        cast("bf16", lengthen(made.leaf(65, 1, dtype="bf16"), made.leaf(65, dtype="bf16", seed=1))),
        cast("f16", lengthen(merge(made.leaf(16, 96), made.leaf(4, 96), made.leaf(16, 4), 1.0), made.leaf(16, seed=2))),
    )


def test_it_is_the_length_that_is_set(made: Made) -> None:
    x, lengths = made.leaf(9, 50), made.leaf(9, data=np.arange(1, 10, dtype="<f4").tobytes())
    made.make(made.folder / "out", ("t", lengthen(x, lengths)))
    rows = np.frombuffer((made.folder / "out").read_bytes()[-(9 * 50 * 4 + 24) :][: 9 * 50 * 4], "<f4").reshape(9, 50)
    np.testing.assert_allclose(np.linalg.norm(rows.astype(float), axis=1), np.arange(1, 10), rtol=1e-6)


def test_other_shapes_are_refused(made: Made) -> None:
    with pytest.raises(ValueError, match=r"lengths of \[8\] do not fit the rows of \[9, 50\]"):
        lengthen(made.leaf(9, 50), made.leaf(8))
