"""q3_K: 16 sub-blocks of 16 levels of 3 bits around 4, each with a 6-bit scale."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 11
BLOCK = 256
BYTES = 110
HALVES = (108,)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_q3_K_ref)"""
    x = n.columns(values, 16)
    scale, searched = searches.descent(x, 4)
    scales = n.columns(scale, 16)
    value, _ = n.first_absmax(scales)
    g = n.F(-32) / value
    codes = np.clip(n.nearest(g * scales).astype(np.int8), -32, 31)
    codes = np.where(value != 0, codes, np.int8(-32))
    d = np.where((value != 0)[:, np.newaxis], n.half(n.F(1) / g), np.uint8(0))
    return _pack(x, d, codes.astype(np.int32), searched)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q3_K_impl)"""
    x = n.columns(rows, 16)
    w = n.columns(n.spread_weights(rows, importance, 256, 2, 256), 16)
    scale, searched = searches.symmetric(x, 4, w)
    d, codes = searches.symmetric(n.columns(scale, 16), 32, n.columns(n.total(w), 16))
    return _pack(x, n.half(d), codes - 32, searched)


def _pack(x: n.Floats, d: n.Bytes, codes: n.Ints, searched: n.Ints) -> n.Bytes:
    """Of columns, f16 bytes, codes -32..31 `[16, blocks]`, and the levels that stand where a scale is 0."""
    D = (n.widen(d) * codes.astype(np.float32)).T.reshape(-1)
    levels = np.where(D != 0, np.clip(n.nearest(x / D), -4, 3) + 4, searched)
    q = levels.T.reshape(-1, 256).astype(np.uint8)
    s = (codes.T + 32).astype(np.uint8)
    low = s[:, :8] & 15 | (s[:, 8:] & 15) << 4
    high = s[:, 0:4] >> 4 | s[:, 4:8] >> 4 << 2 | s[:, 8:12] >> 4 << 4 | s[:, 12:16] >> 4 << 6
    return np.concatenate([n.pack_bits(q >> 2), n.pack_fours(q), low, high, d], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    codes = blocks[:, 96:108]
    low = np.concatenate([codes[:, :8] & 15, codes[:, :8] >> 4], axis=1)
    high = np.concatenate([codes[:, 8:] >> i & 3 for i in (0, 2, 4, 6)], axis=1)
    scale = n.widen(blocks[:, 108:])[:, np.newaxis] * ((low | high << 4).astype(np.float32) - n.F(32))
    q = (n.unpack_fours(blocks[:, 32:96]) | n.unpack_bits(blocks[:, :32]) << 2).astype(np.float32) - n.F(4)
    values: n.Floats = scale[:, :, np.newaxis] * q.reshape(-1, 16, 16)
    return values.reshape(-1)
