"""A matrix and what a pair of low-rank factors adds to it."""

from __future__ import annotations

import struct
from math import lcm
from typing import TYPE_CHECKING

from modelbuild.tensors import packing
from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast, narrow
from modelbuild.tensors.products import add_product
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def merge(x: Expression, a: Expression, b: Expression, scale: float, *, rounded: bool = False) -> Expression:
    """x + scale * b a, in f32 without a rounding between: whoever wants another type casts it.

    x        [out, in], of several matrices [n, out, in]; or [in], which counts as one row
    a        [rank, in] or [n, rank, in]
    b        [out, rank] or [n, out, rank]
    rounded  whether the product is rounded to the type of x before it is added
    Raises ValueError where the shapes do not fit.
    """
    matrix = x.shape if len(x.shape) > 1 else (1, *x.shape)
    fits = len(a.shape) == len(b.shape) == len(matrix) and a.shape[-2] == b.shape[-1]
    if not fits or (*b.shape[:-1], a.shape[-1]) != matrix or a.shape[:-2] != b.shape[:-2]:
        raise ValueError(f"factors of {list(b.shape)} and {list(a.shape)} do not make {list(x.shape)}")
    x, factor = narrow(x), struct.unpack("<f", struct.pack("<f", scale))[0]
    parameters = (factor, "rounded") if rounded and x.dtype != "f32" else (factor,)
    return Expression("merge", parameters, "f32", x.shape, (x, cast("f32", a), cast("f32", b)))


def unit(x: Expression) -> int:
    """Whole rows."""
    return lcm(x.shape[-1], x.operands[0].unit)


def footprint(x: Expression, first: int, count: int) -> int:
    # The factors are at hand as a whole, for all chunks of the tensor.
    _, a, b = x.operands
    product = x.bytes_of(count) if len(x.parameters) > 1 else 0
    return x.operands[0].footprint(first, count) + x.operands[0].bytes_of(count) + product + a.size + b.size


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = x.operands[0]
    old = reader.evaluate(source, name, first, count)
    out = reader.buffer(x.bytes_of(count))
    packing.quantize("f32", source.dtype, old, out)
    if len(x.parameters) == 1:
        _add(x, reader, name, out, first)
    else:
        product = reader.buffer(len(out))
        product[:] = bytes(len(out))
        _add(x, reader, name, product, first)
        # The matrix itself is not needed any more: its buffer takes the product in its type.
        assert isinstance(old, bytearray)
        packing.quantize(source.dtype, "f32", product, old)
        packing.quantize("f32", source.dtype, old, product)
        total = np.frombuffer(out, "<f4")
        np.add(total, np.frombuffer(product, "<f4"), out=total)
        reader.give_back(product)
    reader.give_back(old)
    return out


def _add(x: Expression, reader: Reader, name: str, out: bytearray, first: int) -> None:
    """Add the product to the rows from element `first` on."""
    _, a, b = x.operands
    # By their keys: the matrix may be another pair's sum.
    right, left = (memoryview(reader.whole(each, f"{name}/{each.key}")) for each in (a, b))
    columns, rank, height = x.shape[-1], b.shape[-1], b.shape[-2]
    row, at = first // columns, 0
    end = row + len(out) // (4 * columns)
    with memoryview(out) as new:
        while row < end:
            matrix = row // height
            stop = min(end, (matrix + 1) * height)
            size = 4 * columns * (stop - row)
            add_product(
                new[at : at + size],
                right[4 * rank * columns * matrix : 4 * rank * columns * (matrix + 1)],
                left[4 * rank * row : 4 * rank * stop],
                columns,
                rank,
                x.parameters[0],
            )
            at, row = at + size, stop
