"""Tensors, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def stack(xs: Sequence[Expression]) -> Expression:
    """n tensors of one dtype and shape -> [n, *shape]. Raises ValueError where they differ."""
    kinds = {(x.dtype, x.shape) for x in xs}
    if len(kinds) != 1:
        raise ValueError(f"tensors of {len(kinds)} dtypes or shapes cannot be stacked")
    return Expression("stack", (), xs[0].dtype, (len(xs), *xs[0].shape), tuple(xs))


def unit(x: Expression) -> int:
    # All are of one dtype, whose block is the unit of those that are leaves.
    return lcm(*(operand.unit for operand in x.operands if operand.operands))


def footprint(x: Expression, first: int, count: int) -> int:
    return sum(x.operands[index].footprint(low, some) for index, low, some in _parts(x, first, count))


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    parts = [
        reader.evaluate(x.operands[index], f"{name}/{index}", low, some) for index, low, some in _parts(x, first, count)
    ]
    if len(parts) == 1:
        return parts[0]
    out = reader.buffer(x.bytes_of(count))
    at = 0
    with memoryview(out) as view:
        for part in parts:
            view[at : at + len(part)] = part
            at += len(part)
            reader.give_back(part)
    return out


def _parts(x: Expression, first: int, count: int) -> Iterator[tuple[int, int, int]]:
    """What is taken of the operands: the number of each, its first element and how many."""
    each = prod(x.shape[1:])
    for index in range(first // each, -(-(first + count) // each)):
        low, high = max(first, index * each), min(first + count, (index + 1) * each)
        yield index, low - index * each, high - low
