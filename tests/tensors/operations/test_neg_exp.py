"""The exponential of every value is negated."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from modelbuild.errors import Error
from modelbuild.tensors.operations.neg_exp import neg_exp
from tests.tensors.made import Made


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_every_value_is_what_mathematics_has_rounded_once(made: Made, dtype: str) -> None:
    x = neg_exp(made.leaf(3000, dtype=dtype))
    assert x.dtype == ("f16" if dtype == "f16" else "f32")
    made.check(x)


def test_the_ends_of_the_range(made: Made) -> None:
    values = (0.0, -0.0, 1.0, -200.0, 88.5, -87.0, -math.inf)
    made.check(neg_exp(made.leaf(len(values), data=struct.pack(f"<{len(values)}f", *values))))
    found = np.frombuffer((made.folder / "out").read_bytes()[-32:][:28], "<f4")
    expected = [-1, -1, -math.e, 0, -math.exp(88.5), -math.exp(-87), 0]
    assert found.tolist() == [float(np.float32(value)) for value in expected]


def test_what_is_too_large_is_said(made: Made) -> None:
    x = neg_exp(made.leaf(2, data=struct.pack("<2f", 0, 89)))
    with pytest.raises(Error, match="not finite"):
        made.make(made.folder / "out", ("t", x))
