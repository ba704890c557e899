"""q4_K: 8 sub-blocks of 32 levels of 4 bits, each with a 6-bit scale and minimum."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, superblocks

GGML_TYPE = 12
BLOCK = 256
BYTES = 144
HALVES = (0, 2)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_q4_K_ref)"""
    head, levels = superblocks.plain(values, 15, -1.0, 20)
    return np.concatenate([head, n.pack_pairs(levels)], axis=1).reshape(-1)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q4_K_impl)"""
    head, levels = superblocks.weighted(rows, importance, 15)
    return np.concatenate([head, n.pack_pairs(levels)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    return superblocks.values(blocks[:, :16], n.unpack_pairs(blocks[:, 16:]))
