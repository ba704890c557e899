"""What each operation does to bytes, chunk by chunk, is what its plain specification does to the whole (tests/recipes.py)."""

from __future__ import annotations

import random

import pytest

from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from tests.tensors.made import Made


@pytest.mark.parametrize("seed", range(20))
def test_random_expressions(made: Made, seed: int) -> None:
    chance = random.Random(seed)
    expressions = []
    for number in range(6):
        x = made.leaf(
            *(chance.choice((4, 6, 12, 20)) for _ in range(3)), dtype=chance.choice(("f32", "bf16", "f16")), seed=number
        )
        for _ in range(chance.randint(1, 5)):
            x = changed(x, chance, made)
        expressions.append(x)
    made.check(*expressions)


def changed(x: Expression, chance: random.Random, made: Made) -> Expression:
    """One more operation on it."""
    kind = chance.choice(("slice", "slice", "stack", "transpose", "permute", "add_one", "cast"))
    if kind == "slice":
        axis = chance.randrange(len(x.shape))
        start = chance.randrange(x.shape[axis])
        return slice_(x, axis, start, chance.randint(start + 1, x.shape[axis]), chance.randint(1, 3))
    if kind == "stack" and len(x.shape) < 5 and x.size < 1 << 16:
        return stack([x, made.leaf(*x.shape, dtype=x.dtype, seed=99), x])
    if kind == "transpose":
        return transpose(x)
    if kind == "permute" and x.shape[0] % 4 == 0:
        return permute(x, chance.choice((1, 2)))
    if kind == "add_one":
        return add_one(x)
    return cast(chance.choice(("f32", "f16", "bf16")), x)
