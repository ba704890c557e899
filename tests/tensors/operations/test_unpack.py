"""Numbers of a few bits."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.unpack import unpack
from tests.tensors.made import Made


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_numbers_of_all_widths(made: Made, bits: int) -> None:
    per = 32 // bits
    words, zeros = made.leaf(40, -(-64 // per), dtype="i32"), made.leaf(-(-40 // per), 4, dtype="i32")
    made.check(
        unpack(words, bits, 64),
        unpack(words, bits, 64, zeros),
        cast("bf16", scale(unpack(words, bits, 64, zeros), made.leaf(40, 4), (1, 16))),
    )


def test_what_does_not_fit_is_refused(made: Made) -> None:
    words = made.leaf(8, 8, dtype="i32")
    with pytest.raises(ValueError, match="65 columns of 4 bits do not fit words i32"):
        unpack(words, 4, 65)
    for shape in ((2, 2), (1, 3), (1, 0)):
        with pytest.raises(ValueError, match="zero points"):
            unpack(words, 4, 64, made.leaf(*shape, dtype="i32"))
