"""q5_K: 8 sub-blocks of 32 levels of 5 bits, each with a 6-bit scale and minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 13
BLOCK = 256
BYTES = 176
HALVES = (0, 2)


def quantize(values: Floats) -> Bytes:
    """(quantize_row_q5_K_ref)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    head, levels = n.affine_superblocks(values, 31, -0.5, 15)
    return np.concatenate([head, n.pack_bits(levels >> 4), n.pack_pairs(levels)], axis=1).reshape(-1)


def quantize_weighted(rows: Floats, importance: Floats) -> Bytes:
    """(quantize_row_q5_K_impl)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    head, levels = n.weighted_affine_superblocks(rows, importance, 31)
    return np.concatenate([head, n.pack_bits(levels >> 4), n.pack_pairs(levels)], axis=1).reshape(-1)


def dequantize(data: Bytes) -> Floats:
    from modelbuild.tensors.quants import _numpy as n

    blocks = data.reshape(-1, BYTES)
    return n.affine_values(blocks[:, :16], n.unpack_pairs(blocks[:, 48:]) | n.unpack_bits(blocks[:, 16:48]) << 4)
