"""Rows of zeros, after those of a matrix."""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def pad(x: Expression, rows: int) -> Expression:
    """[..., n, columns] -> [..., rows, columns]; the identity where n is `rows`. Raises ValueError where there are more already.

    x  of a dtype whose zero is all zero bits: f32, f16, bf16
    """
    if len(x.shape) < 2 or x.shape[-2] > rows or x.dtype not in ("f32", "f16", "bf16"):
        raise ValueError(f"{x.dtype} values of {list(x.shape)} cannot be padded to {rows} rows")
    if x.shape[-2] == rows:
        return x
    return Expression("pad", (), x.dtype, (*x.shape[:-2], rows, x.shape[-1]), (x,))


def unit(x: Expression) -> int:
    """As many whole matrices as are whole units of the operand."""
    before = prod(x.operands[0].shape[-2:])
    return lcm(before, x.operands[0].unit) // before * prod(x.shape[-2:])


def footprint(x: Expression, first: int, count: int) -> int:
    before, after = prod(x.operands[0].shape[-2:]), prod(x.shape[-2:])
    return x.operands[0].footprint(first // after * before, count // after * before)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    (operand,) = x.operands
    before, after = prod(operand.shape[-2:]), prod(x.shape[-2:])
    source = reader.evaluate(operand, name, first // after * before, count // after * before)
    out = reader.buffer(x.bytes_of(count))
    short, long = operand.bytes_of(before), x.bytes_of(after)
    with memoryview(source) as old:
        for number in range(count // after):
            at = number * long
            out[at : at + short] = old[number * short : (number + 1) * short]
            out[at + short : at + long] = bytes(long - short)
    reader.give_back(source)
    return out
