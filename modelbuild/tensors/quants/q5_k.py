"""q5_K: 8 sub-blocks of 32 levels of 5 bits, each with a 6-bit scale and minimum."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, superblocks

GGML_TYPE = 13
BLOCK = 256
BYTES = 176
HALVES = (0, 2)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_q5_K_ref)"""
    head, levels = superblocks.plain(values, 31, -0.5, 15)
    return np.concatenate([head, n.pack_bits(levels >> 4), n.pack_pairs(levels)], axis=1).reshape(-1)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q5_K_impl)"""
    head, levels = superblocks.weighted(rows, importance, 31)
    return np.concatenate([head, n.pack_bits(levels >> 4), n.pack_pairs(levels)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    return superblocks.values(blocks[:, :16], n.unpack_pairs(blocks[:, 48:]) | n.unpack_bits(blocks[:, 16:48]) << 4)
