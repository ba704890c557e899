"""q4_K: 8 sub-blocks of 32 levels of 4 bits, each with a 6-bit scale and minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 12
BLOCK = 256
BYTES = 144
HALVES = (0, 2)


def quantize(values: Floats) -> Bytes:
    """(quantize_row_q4_K_ref)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    head, levels = n.affine_superblocks(values, 15, -1.0, 20)
    return np.concatenate([head, n.pack_pairs(levels)], axis=1).reshape(-1)


def quantize_weighted(rows: Floats, importance: Floats) -> Bytes:
    """(quantize_row_q4_K_impl)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    head, levels = n.weighted_affine_superblocks(rows, importance, 15)
    return np.concatenate([head, n.pack_pairs(levels)], axis=1).reshape(-1)


def dequantize(data: Bytes) -> Floats:
    from modelbuild.tensors.quants import _numpy as n

    blocks = data.reshape(-1, BYTES)
    return n.affine_values(blocks[:, :16], n.unpack_pairs(blocks[:, 16:]))
