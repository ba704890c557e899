"""q5_1: 32 levels of 5 bits from a minimum up."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 7
BLOCK = 32
BYTES = 24
HALVES = (0, 2)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_q5_1_ref; unlike q4_1 it does not clamp)"""
    x = n.columns(values, BLOCK)
    low, high = n.extremes(x)
    d = (high - low) / n.F(31)
    q = n.truncated((x - low) * n.inverse(d) + n.F(0.5)).astype(np.uint8).T
    return _pack(d, low, q)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q5_1_impl)"""
    w = n.spread_weights(rows, importance, rows.shape[1], 1, rows.shape[1])
    d, minimum, levels = searches.weighted_affine(n.columns(rows, BLOCK), n.columns(w, BLOCK), 31)
    return _pack(d, -minimum, levels.T.astype(np.uint8))


def _pack(d: n.Floats, low: n.Floats, q: n.Bytes) -> n.Bytes:
    fifth = np.packbits(q >> 4 & 1, axis=1, bitorder="little")
    return np.concatenate([n.half(d), n.half(low), fifth, n.nibbles(q & 15)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    d, low = n.widen(blocks[:, :2])[:, np.newaxis], n.widen(blocks[:, 2:4])[:, np.newaxis]
    fifth = np.unpackbits(blocks[:, 4:8].view(np.uint8), axis=1, bitorder="little")
    q = n.unnibbles(blocks[:, 8:]) | fifth << 4
    values: n.Floats = q.astype(np.float32) * d + low
    return values.reshape(-1)
