"""Blocks of values, times their scales."""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def scale(x: Expression, scales: Expression, block: tuple[int, int]) -> Expression:
    """Multiply each block of `block` rows and columns by its scale, in f32: the values of an fp8 checkpoint.

    x       [..., rows, columns]
    scales  [..., rows / block, columns / block], rounded up
    Source: llama.cpp conversion, ModelBase.dequant_model (dequant_simple). Raises ValueError where the shapes do not fit.
    """
    rows, columns = ((1, 1) + x.shape)[-2:]
    fitting = (*x.shape[:-2], -(-rows // block[0]), -(-columns // block[1]))
    if prod(fitting) != prod(scales.shape) or (len(x.shape) > 1 and fitting != scales.shape and prod(fitting) != 1):
        raise ValueError(f"scales of shape {list(scales.shape)} do not fit {list(x.shape)} in blocks of {list(block)}")
    scales = Expression(scales.operation, scales.parameters, scales.dtype, fitting, scales.operands)
    return Expression("scale", block, "f32", x.shape, (cast("f32", x), cast("f32", scales)))


def unit(x: Expression) -> int:
    """Whole rows."""
    return lcm(x.shape[-1] if x.shape else 1, x.operands[0].unit)


def footprint(x: Expression, first: int, count: int) -> int:
    factors = x.bytes_of(count)
    return factors + x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    scales = reader.whole(x.operands[1], name + "/scale")
    columns = x.shape[-1] if x.shape else 1
    high, wide = x.parameters
    grid = x.operands[1].shape
    values = np.frombuffer(source, "<f4").reshape(-1, columns)
    row = np.arange(first // columns, first // columns + len(values))
    if len(x.shape) > 2:
        # Each matrix has scales of its own.
        matrix, row = np.divmod(row, x.shape[-2])
        row = matrix * grid[-2] + row // high
    else:
        row = row // high
    factors = np.frombuffer(scales, "<f4").reshape(-1, grid[-1] if grid else 1)
    np.multiply(
        values, np.repeat(factors[row], wide, axis=1)[:, :columns], out=np.frombuffer(out, "<f4").reshape(-1, columns)
    )
    reader.give_back(source)
    return out
