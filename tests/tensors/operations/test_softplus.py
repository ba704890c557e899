"""The softplus of every value."""

from __future__ import annotations

import numpy as np
import pytest

from modelbuild.tensors.operations.softplus import softplus
from modelbuild.tensors.recipe import Expression
from tests import recipes
from tests.tensors.made import Made


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_values_are_those_of_the_specification(made: Made, dtype: str) -> None:
    x = softplus(made.leaf(3000, dtype=dtype))
    assert x.dtype == ("f32" if dtype == "bf16" else dtype)
    made.check(x)


def test_large_values_stay_and_small_ones_vanish(made: Made) -> None:
    values = np.array([0, 20, 20.5, 1000, -20, -200, -1000, 3e38, -3e38], "<f4")
    x = softplus(made.leaf(len(values), data=values.tobytes()))
    made.check(x)
    found = np.frombuffer(recipes.evaluate(x, made.bytes), "<f4")
    assert list(found[2:4]) == [20.5, 1000] and list(found[5:7]) == [0, 0]
    assert found[0] == np.float32(np.log(2))


def test_it_is_of_floats() -> None:
    with pytest.raises(ValueError, match="no softplus of q8_0 values"):
        softplus(Expression("leaf", ("xxh3:00",), "q8_0", (32,)))
