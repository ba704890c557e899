"""Floats, packed into a block format."""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors import packing, quants
from modelbuild.tensors.operations.cast import cast, narrow
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def quantize(quant: str, x: Expression, weights: Expression | None = None) -> Expression:
    """Pack a float tensor into blocks of `quant`; the identity where it is of that type already.

    weights  f32, importance of each column, one row for each matrix of the tensor: [columns] or [experts, columns]
    """
    if x.dtype == quant:
        return x
    if quant in quants.FLOATS:
        return cast(quant, x)
    x = narrow(x)
    if weights is None or not quants.takes_weights(quant):
        return Expression("quantize", (), quant, x.shape, (x,))
    assert prod(weights.shape) == prod(x.shape[:-2]) * x.shape[-1]
    return Expression("quantize", (), quant, x.shape, (x, weights))


def unit(x: Expression) -> int:
    """Whole rows where importance is given, which is by column."""
    return lcm(x.shape[-1] if len(x.operands) == 2 else 1, x.operands[0].unit)


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    if len(x.operands) == 2:
        _weighted(x, source, out, reader.whole(x.operands[1], name + "/weights"), first, count)
    else:
        packing.quantize(x.dtype, x.operands[0].dtype, source, out)
    reader.give_back(source)
    return out


def _weighted(x: Expression, source: Buffer, out: bytearray, weights: Buffer, first: int, count: int) -> None:
    """Quantize whole rows, each matrix of the tensor with its own row of weights."""
    operand = x.operands[0]
    columns, matrix = x.shape[-1], prod(x.shape[-2:])
    done = 0
    with memoryview(source) as old, memoryview(out) as new:
        while done < count:
            index = (first + done) // matrix
            part = min(count - done, (index + 1) * matrix - first - done)
            importance = weights[4 * columns * index : 4 * columns * (index + 1)]
            here = old[operand.bytes_of(done) :][: operand.bytes_of(part)]
            there = new[x.bytes_of(done) :][: x.bytes_of(part)]
            try:
                packing.quantize(x.dtype, operand.dtype, here, there, weights=importance, columns=columns)
            except packing.NotFinite as error:
                raise packing.NotFinite(done + error.index) from error
            except packing.Overflow as error:
                raise packing.Overflow(done + error.index) from error
            done += part
