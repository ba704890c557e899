"""Packing and unpacking in numpy, a stretch at a time: the specification of the kernels, which serves where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from modelbuild.tensors.quants import Weighted, module
from modelbuild.tensors.quants._numpy import as_bytes, first_nonfinite, first_overflow

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

STRETCH = 1 << 16
"""Elements: a multiple of every block, and the temporaries stay in the caches."""


def quantize(
    quant: str,
    dtype: str,
    source: ReadableBuffer,
    out: WriteableBuffer,
    weights: ReadableBuffer | None = None,
    columns: int = 0,
) -> tuple[int, int]:
    """As the native `quantize`: the first positions that are not finite, that overflow; -1 for none."""
    reader, writer = module(dtype), module(quant)
    nonfinite = first_nonfinite(dtype, source)
    if nonfinite >= 0 and writer.BLOCK > 1:
        return nonfinite, -1
    data, packed = as_bytes(source), as_bytes(out)
    if quant == dtype:
        packed[:] = data
        return nonfinite, -1
    overflow = -1
    importance = None if weights is None else as_bytes(weights).view("<f4")
    step = STRETCH if weights is None else max(STRETCH // columns, 1) * columns
    for start in range(0, data.size // reader.BYTES, step):
        values = reader.dequantize(data[start * reader.BYTES : (start + step) * reader.BYTES])
        with np.errstate(all="ignore"):
            if importance is None:
                piece = writer.quantize(values)
            else:
                piece = cast(Weighted, writer).quantize_weighted(values.reshape(-1, columns), importance)
        at = start // writer.BLOCK * writer.BYTES
        packed[at : at + piece.size] = piece
        if nonfinite < 0 and overflow < 0:
            halves = writer.BYTES, writer.HALVES
            found = first_nonfinite(quant, piece.data) if writer.BLOCK == 1 else first_overflow(piece, *halves)
            overflow = start + found * writer.BLOCK if found >= 0 else -1
    return nonfinite, overflow


def dequantize(quant: str, source: ReadableBuffer, out: WriteableBuffer) -> None:
    reader = module(quant)
    blocks = as_bytes(source).reshape(-1, reader.BYTES)
    values = as_bytes(out)
    step = STRETCH // reader.BLOCK
    for start in range(0, len(blocks), step):
        with np.errstate(all="ignore"):
            piece = reader.dequantize(blocks[start : start + step].reshape(-1)).view(np.uint8)
        at = start * reader.BLOCK * 4
        values[at : at + piece.size] = piece
