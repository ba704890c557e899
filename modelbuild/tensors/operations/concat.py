"""Tensors side by side, along an axis that they have."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def concat(xs: Sequence[Expression], axis: int = 0) -> Expression:
    """[…, n, …], […, m, …] -> […, n + m, …]. Raises ValueError where dtypes or other axes differ, or the axis is not there.

    The axis is not that of the rows of a block format.
    """
    first = xs[0]
    if not 0 <= axis < len(first.shape):
        raise ValueError(f"no axis {axis} of {list(first.shape)}")
    if len({(x.dtype, len(x.shape), x.shape[:axis], x.shape[axis + 1 :]) for x in xs}) != 1:
        raise ValueError(
            f"tensors of {', '.join(f'{x.dtype} {list(x.shape)}' for x in xs)} do not fit along axis {axis}"
        )
    if len(xs) == 1:
        return first
    shape = (*first.shape[:axis], sum(x.shape[axis] for x in xs), *first.shape[axis + 1 :])
    return Expression("concat", (axis,), first.dtype, shape, tuple(xs))


def unit(x: Expression) -> int:
    """As many passes of the axis as are whole units of each operand."""
    passes = lcm(*(lcm(each, operand.unit) // each for operand, each in zip(x.operands, _extents(x), strict=True)))
    return passes * prod(x.shape[int(x.parameters[0]) :])


def footprint(x: Expression, first: int, count: int) -> int:
    whole = prod(x.shape[int(x.parameters[0]) :])
    low, passes = first // whole, count // whole
    return sum(
        operand.footprint(low * each, passes * each) for operand, each in zip(x.operands, _extents(x), strict=True)
    )


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    whole = prod(x.shape[int(x.parameters[0]) :])
    low, passes = first // whole, count // whole
    parts = [
        reader.evaluate(operand, f"{name}/{index}", low * each, passes * each)
        for index, (operand, each) in enumerate(zip(x.operands, _extents(x), strict=True))
    ]
    out = reader.buffer(x.bytes_of(count))
    at = 0
    with memoryview(out) as view:
        for number in range(passes):
            for part in parts:
                size = len(part) // passes
                view[at : at + size] = memoryview(part)[number * size : (number + 1) * size]
                at += size
    for part in parts:
        reader.give_back(part)
    return out


def _extents(x: Expression) -> list[int]:
    """Elements of each operand in which the axis is passed once."""
    axis = int(x.parameters[0])
    return [prod(operand.shape[axis:]) for operand in x.operands]
