"""One is added to every value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.operations.cast import cast
from tests.tensors.made import Made


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_one_is_added(made: Made, dtype: str) -> None:
    x = add_one(made.leaf(3000, dtype=dtype))
    assert x.dtype == ("f32" if dtype == "bf16" else dtype)
    made.check(x, cast("f32", x))


def test_one_is_added_to_every_half_with_one_rounding(tmp_path: Path) -> None:
    """The sums in f64 are exact: what is rounded from them is rounded once."""
    made = Made(tmp_path, 2, 1 << 20)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves) & (halves < 65504)]
    x = add_one(made.leaf(len(halves), dtype="f16", data=halves.tobytes()))
    made.check(x)
