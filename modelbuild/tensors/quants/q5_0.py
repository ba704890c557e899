"""q5_0: 32 levels of 5 bits around 16, and one scale."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 6
BLOCK = 32
BYTES = 22
HALVES = (0,)


def quantize(values: n.Floats) -> n.Bytes:
    """d takes the value of the largest magnitude to level 0. (quantize_row_q5_0_ref)"""
    x = n.columns(values, BLOCK)
    d = n.first_absmax(x)[0] / n.F(-16)
    q = np.minimum(n.truncated(x * n.inverse(d) + n.F(16.5)).astype(np.int8), 31).astype(np.uint8).T
    return _pack(d, q)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q5_0_impl)"""
    w = n.spread_weights(rows, importance, rows.shape[1], 1, rows.shape[1])
    d, levels = searches.symmetric(n.columns(rows, BLOCK), 16, n.columns(w, BLOCK))
    return _pack(d, levels.T.astype(np.uint8))


def _pack(d: n.Floats, q: n.Bytes) -> n.Bytes:
    fifth = np.packbits(q >> 4 & 1, axis=1, bitorder="little")
    return np.concatenate([n.half(d), fifth, n.nibbles(q & 15)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    fifth = np.unpackbits(blocks[:, 2:6].view(np.uint8), axis=1, bitorder="little")
    q = (n.unnibbles(blocks[:, 6:]) | fifth << 4).astype(np.float32) - n.F(16)
    values: n.Floats = q * n.widen(blocks[:, :2])[:, np.newaxis]
    return values.reshape(-1)
