"""q6_K: 16 sub-blocks of 16 levels of 6 bits around 32, each with an 8-bit scale."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 14
BLOCK = 256
BYTES = 210
HALVES = (208,)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_q6_K_ref)"""
    return _pack(values, None)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q6_K_impl: importances are the weights)"""
    return _pack(rows, np.broadcast_to(importance, rows.shape))


def _pack(values: n.Floats, weights: n.Floats | None) -> n.Bytes:
    x = n.columns(values, 16)
    scale, searched = searches.symmetric(x, 32, None if weights is None else n.columns(weights, 16))
    scales = n.columns(scale, 16)
    value, magnitude = n.first_absmax(scales)
    g = n.F(-128) / value
    d = n.half(n.F(1) / g)
    codes = np.minimum(n.nearest(g * scales), 127).astype(np.int8)
    D = (n.widen(d) * codes.astype(np.float32)).T.reshape(-1)
    levels = np.where(D != 0, np.clip(n.nearest(x / D), -32, 31) + 32, searched)
    q = levels.T.astype(np.uint8).reshape(-1, 2, 4, 32)
    low = (q[:, :, :2] & 15 | (q[:, :, 2:] & 15) << 4).reshape(-1, 128)
    high = n.pack_fours(q >> 4)
    packed = np.concatenate([low, high, codes.T.view(np.uint8), d], axis=1)
    packed[magnitude < n.EPSILON] = 0
    return packed.reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    low = blocks[:, :128].reshape(-1, 2, 2, 32)
    q = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 256) | n.unpack_fours(blocks[:, 128:192]) << 4
    scale = n.widen(blocks[:, 208:])[:, np.newaxis] * blocks[:, 192:208].view(np.int8).astype(np.float32)
    values: n.Floats = scale[:, :, np.newaxis] * (q.astype(np.float32) - n.F(32)).reshape(-1, 16, 16)
    return values.reshape(-1)
