"""The same values in another shape."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Shape

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def reshape(x: Expression, shape: Shape) -> Expression:
    """Values in the order that they have. Raises ValueError where there are more or fewer."""
    if prod(shape) != prod(x.shape):
        raise ValueError(f"the values of {list(x.shape)} do not make {list(shape)}")
    if shape == x.shape:
        return x
    if x.operation == "leaf":
        return Expression("leaf", x.parameters, x.dtype, shape, label=x.label)
    return Expression("reshape", (), x.dtype, shape, (x,))


def unit(x: Expression) -> int:
    return x.operands[0].unit


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    return reader.evaluate(x.operands[0], name, first, count)
