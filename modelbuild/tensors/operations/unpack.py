"""Whole numbers of a few bits, taken out of words of 32."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def unpack(words: Expression, bits: int, columns: int, zeros: Expression | None = None) -> Expression:
    """f32 [rows, columns]: each number less its zero point, which is 2^(bits - 1) where `zeros` are not given.

    words  i32 [rows, columns / n rounded up], n = 32 // bits numbers in each, the first in the lowest bits
    zeros  i32 [rows / n rounded up, groups], packed along the rows; a group is columns / groups columns
    Source: llama.cpp conversion, ModelBase.dequant_model (dequant_packed). Raises ValueError where dtypes or shapes do not fit.
    """
    per = 32 // bits
    if words.dtype != "i32" or len(words.shape) != 2 or words.shape[1] != -(-columns // per):
        raise ValueError(f"{columns} columns of {bits} bits do not fit words {words.dtype} {list(words.shape)}")
    rows = words.shape[0]
    if zeros is not None and (
        zeros.dtype != "i32"
        or len(zeros.shape) != 2
        or zeros.shape[0] != -(-rows // per)
        or not zeros.shape[1]
        or columns % zeros.shape[1]
    ):
        raise ValueError(f"zero points {zeros.dtype} {list(zeros.shape)} do not fit {rows} rows of {columns}")
    operands = (words,) if zeros is None else (words, zeros)
    return Expression("unpack", (bits,), "f32", (rows, columns), operands)


def unit(x: Expression) -> int:
    """Whole rows."""
    words = x.operands[0]
    return lcm(words.unit, words.shape[1]) // words.shape[1] * x.shape[1]


def footprint(x: Expression, first: int, count: int) -> int:
    words, rows = x.operands[0], count // x.shape[1]
    # The numbers of all words, as i32, those that pad a row too.
    numbers = 4 * rows * words.shape[1] * (32 // int(x.parameters[0]))
    return 2 * numbers + words.footprint(first // x.shape[1] * words.shape[1], rows * words.shape[1])


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    words, columns = x.operands[0], x.shape[1]
    bits = int(x.parameters[0])
    start, rows, width = first // columns, count // columns, words.shape[1]
    source = reader.evaluate(words, name, start * width, rows * width)
    out = reader.buffer(x.bytes_of(count))
    shifts = np.arange(32 // bits, dtype=np.int32) * bits
    mask = np.int32((1 << bits) - 1)
    numbers = np.frombuffer(source, "<i4").reshape(rows, width, 1) >> shifts & mask
    made = np.frombuffer(out, "<f4").reshape(rows, columns)
    made[:] = numbers.reshape(rows, -1)[:, :columns]
    if len(x.operands) == 1:
        made -= np.float32(1 << bits - 1)
    else:
        zeros = x.operands[1]
        points = np.frombuffer(reader.whole(zeros, name + "/zeros"), "<i4").reshape(zeros.shape)
        row, place = np.divmod(np.arange(start, start + rows), 32 // bits)
        offsets = points[row] >> shifts[place][:, np.newaxis] & mask
        grouped = made.reshape(rows, zeros.shape[1], -1)
        grouped -= offsets.astype(np.float32)[:, :, np.newaxis]
    reader.give_back(source)
    return out
