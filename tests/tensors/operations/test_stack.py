"""Tensors one after another."""

from __future__ import annotations

import pytest

from modelbuild.tensors.evaluate import Mismatch, Region
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.stack import stack
from tests.tensors.made import Made


def test_parts_are_stacked(made: Made) -> None:
    made.check(
        stack([made.leaf(17, 24, dtype="bf16", seed=n) for n in range(5)]),
        stack([made.leaf(7, seed=n) for n in range(3)]),
        stack([stack([made.leaf(4, 40, seed=2 * n + m) for m in range(2)]) for n in range(3)]),
    )


def test_equal_parts_are_stacked(made: Made) -> None:
    x = made.leaf(40, 64, dtype="bf16")
    zeros = made.leaf(40, 64, dtype="bf16", data=bytes(40 * 64 * 2))
    once = stack([x, x, zeros, x, zeros])
    made.check(once, once, quantize("q8_0", once), stack([once, once]))


def test_a_changed_byte_is_noticed_among_equal_parts(made: Made) -> None:
    """The second part is read as its own tensor, from the same place."""
    x = made.leaf(30, 500, dtype="bf16")
    good = made.leaf(30, 500, dtype="bf16", seed=1)
    digest, region = x.digest, made.regions[x.digest]
    made.check(stack([x, good, x]))
    made.regions[digest] = Region(region.path, made.regions[good.digest].offset, region.length, "another's bytes")
    with pytest.raises(Mismatch):
        made.make(made.folder / "out", ("t", stack([good, good, x])))
