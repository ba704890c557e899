"""A matrix with some of its rows replaced."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING

from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def replace_rows(x: Expression, rows: Expression, indices: tuple[int, ...]) -> Expression:
    """Put row n of `rows` in place of row indices[n] of x, in x's dtype. Raises ValueError where there is no such row.

    x     [rows, columns], floats
    rows  [n, columns]
    """
    if len(x.shape) != 2 or rows.shape != (len(indices), x.shape[1]) or not all(0 <= i < x.shape[0] for i in indices):
        raise ValueError(f"rows of {list(rows.shape)} cannot replace {len(indices)} rows of {list(x.shape)}")
    return Expression("replace_rows", tuple(indices), x.dtype, x.shape, (x, cast(x.dtype, rows)))


def unit(x: Expression) -> int:
    """Whole rows."""
    return lcm(x.shape[-1], x.operands[0].unit)


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count) + x.operands[1].size


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    rows = reader.whole(x.operands[1], f"{name}/{x.operands[1].key}")
    columns = x.shape[-1]
    size = x.bytes_of(columns)
    low, high = first // columns, (first + count) // columns
    out[:] = source
    for number, index in enumerate(x.parameters):
        if low <= index < high:
            at = (index - low) * size
            out[at : at + size] = rows[number * size : (number + 1) * size]
    reader.give_back(source)
    return out
