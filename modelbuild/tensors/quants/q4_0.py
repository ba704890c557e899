"""q4_0: 32 levels of 4 bits around 8, and one scale."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 2
BLOCK = 32
BYTES = 18
HALVES = (0,)


def quantize(values: n.Floats) -> n.Bytes:
    """d takes the value of the largest magnitude to level 0. (quantize_row_q4_0_ref)"""
    x = n.columns(values, BLOCK)
    d = n.first_absmax(x)[0] / n.F(-8)
    q = np.minimum(n.truncated(x * n.inverse(d) + n.F(8.5)).astype(np.int8), 15).astype(np.uint8).T
    return _pack(d, q)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q4_0_impl)"""
    w = n.spread_weights(rows, importance, rows.shape[1], 1, rows.shape[1])
    d, levels = searches.symmetric(n.columns(rows, BLOCK), 8, n.columns(w, BLOCK))
    return _pack(d, levels.T.astype(np.uint8))


def _pack(d: n.Floats, q: n.Bytes) -> n.Bytes:
    return np.concatenate([n.half(d), n.nibbles(q)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    q = n.unnibbles(blocks[:, 2:]).astype(np.float32) - n.F(8)
    return (q * n.widen(blocks[:, :2])[:, np.newaxis]).reshape(-1)
