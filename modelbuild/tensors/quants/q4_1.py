"""q4_1: 32 levels of 4 bits from a minimum up."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 3
BLOCK = 32
BYTES = 20
HALVES = (0, 2)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_q4_1_ref)"""
    x = n.columns(values, BLOCK)
    low, high = n.extremes(x)
    d = (high - low) / n.F(15)
    q = np.minimum(n.truncated((x - low) * n.inverse(d) + n.F(0.5)).astype(np.int8), 15).astype(np.uint8).T
    return _pack(d, low, q)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q4_1_impl)"""
    w = n.spread_weights(rows, importance, rows.shape[1], 1, rows.shape[1])
    d, minimum, levels = searches.weighted_affine(n.columns(rows, BLOCK), n.columns(w, BLOCK), 15)
    return _pack(d, -minimum, levels.T.astype(np.uint8))


def _pack(d: n.Floats, low: n.Floats, q: n.Bytes) -> n.Bytes:
    return np.concatenate([n.half(d), n.half(low), n.nibbles(q)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    d, low = n.widen(blocks[:, :2])[:, np.newaxis], n.widen(blocks[:, 2:4])[:, np.newaxis]
    return (n.unnibbles(blocks[:, 4:]).astype(np.float32) * d + low).reshape(-1)
