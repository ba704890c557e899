"""Rows of a matrix, brought to given lengths: what DoRA makes of a merged matrix."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1

_PIECE = 1 << 16
"""Elements whose squares are at hand at a time."""


def lengthen(x: Expression, lengths: Expression) -> Expression:
    """Multiply each row of a matrix by its length to be, over the length it has; in f32. Raises ValueError where the shapes do not fit.

    x        [rows, columns]
    lengths  [rows]
    Source: PEFT 0.21.2, tuners/lora/dora.py (get_weight_norm), variants.py (DoraLinearVariant.merge_safe)
    """
    if len(x.shape) != 2 or lengths.shape != x.shape[:1]:
        raise ValueError(f"lengths of {list(lengths.shape)} do not fit the rows of {list(x.shape)}")
    return Expression("lengthen", (), "f32", x.shape, (cast("f32", x), cast("f32", lengths)))


def unit(x: Expression) -> int:
    """Whole rows."""
    return lcm(x.shape[-1], x.operands[0].unit)


def footprint(x: Expression, first: int, count: int) -> int:
    # Squares in f64 of the rows that are at hand.
    return x.operands[0].footprint(first, count) + x.operands[1].size + 8 * max(_PIECE, x.shape[-1])


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    columns = x.shape[-1]
    whole = reader.whole(x.operands[1], f"{name}/{x.operands[1].key}")
    lengths = np.frombuffer(whole, "<f4")[first // columns :]
    old, new = (np.frombuffer(each, "<f4").reshape(-1, columns) for each in (source, out))
    step = max(1, _PIECE // columns)
    with np.errstate(all="ignore"):
        for low in range(0, len(old), step):
            part = old[low : low + step]
            squares = part.astype("<f8")
            squares *= squares
            # Halves are added to halves: so that every machine adds in the same order.
            width = columns
            while width > 1:
                half = (width + 1) // 2
                squares[:, : width - half] += squares[:, half:width]
                width = half
            factors = lengths[low : low + len(part)].astype("<f8") / np.sqrt(squares[:, 0])
            np.multiply(part, factors.astype("<f4")[:, None], out=new[low : low + step])
    reader.give_back(source)
    return out
