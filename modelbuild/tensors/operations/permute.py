"""The rows of rotary heads, reordered."""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def permute(x: Expression, heads: int) -> Expression:
    """Reorder rotary rows from halves to pairs, as llama.cpp's llama architecture wants them.

    In each of `heads` groups of hd = shape[0] / heads rows, new row 2j + p is old row p * hd/2 + j.
    Source: llama.cpp conversion, LlamaModel.permute. Raises ValueError where the rows do not divide.
    """
    rows = x.shape[0] if x.shape else 1
    if heads < 1 or rows % (2 * heads):
        raise ValueError(f"{rows} rows cannot be permuted in {heads} heads of an even number of rows")
    return Expression("permute", (heads,), x.dtype, x.shape, (x,))


def unit(x: Expression) -> int:
    """Whole heads."""
    return lcm(prod(x.shape) // int(x.parameters[0]), x.operands[0].unit)


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    half = x.shape[0] // int(x.parameters[0]) // 2
    row = x.bytes_of(prod(x.shape[1:]))
    with memoryview(source) as old, memoryview(out) as new:
        for head in range(0, len(out), 2 * half * row):
            for j in range(half):
                low, high, at = head + j * row, head + (half + j) * row, head + 2 * j * row
                new[at : at + row] = old[low : low + row]
                new[at + row : at + 2 * row] = old[high : high + row]
    reader.give_back(source)
    return out
