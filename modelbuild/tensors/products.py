"""A product of two low-rank factors, added to a matrix: in native kernels or in numpy, the same bytes either way."""

from __future__ import annotations

from modelbuild.tensors import kernels
from modelbuild.tensors.lazy import np

Buffer = bytes | bytearray | memoryview

_PIECE = 1 << 16
"""Elements that numpy has at hand at a time: what stays in a processor's cache."""


def add_product(x: bytearray | memoryview, a: Buffer, b: Buffer, columns: int, rank: int, scale: float) -> None:
    """x += scale * b a: little-endian f32 of [rows, columns], [rank, columns] and [rows, rank].

    Each sum starts at 0 and goes by the rank, every operation rounded to f32. Raises ValueError where sizes do not fit.
    """
    native, instructions = kernels.choose()
    if native is not None:
        native.add_product(instructions, x, a, b, columns, rank, scale)
        return
    whole = np.frombuffer(x, "<f4").reshape(-1, columns)
    right = np.frombuffer(a, "<f4").reshape(rank, columns)
    left = np.frombuffer(b, "<f4").reshape(len(whole), rank)
    step = max(1, _PIECE // columns)
    with np.errstate(all="ignore"):
        for first in range(0, len(whole), step):
            part, factors = whole[first : first + step], left[first : first + step]
            total, product = np.zeros_like(part), np.empty_like(part)
            for k in range(rank):
                np.multiply(factors[:, k, None], right[k], out=product)
                np.add(total, product, out=total)
            np.multiply(total, np.float32(scale), out=total)
            np.add(part, total, out=part)
