"""iq4_xs: 8 sub-blocks of 32 levels as in iq4_nl, each with a 6-bit scale."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 23
BLOCK = 256
BYTES = 136
HALVES = (0,)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_iq4_nl_impl with blocks of 256)"""
    return _pack(values, None)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    return _pack(rows, n.spread_weights(rows, importance, BLOCK, 1, 128))


def _pack(values: n.Floats, weights: n.Floats | None) -> n.Bytes:
    x = n.columns(values, 32)
    scales = n.columns(searches.uneven(x, None if weights is None else n.columns(weights, 32)), 8)
    d = -n.first_absmax(scales)[0] / n.F(32)
    codes = np.clip(n.nearest(n.inverse(d) * scales), -32, 31)
    g = n.inverse(d * codes.astype(np.float32))
    levels = n.uneven_levels(g.T.reshape(-1) * x).T.astype(np.uint8)
    s = (codes + 32).T
    low = (s[:, 0::2] & 15 | (s[:, 1::2] & 15) << 4).astype(np.uint8)
    high = np.zeros(len(s), np.uint16)
    for j in range(8):
        high |= (s[:, j] >> 4 << 2 * j).astype(np.uint16)
    packed = n.nibbles(levels).reshape(-1, 128)
    high_bytes = high.astype("<u2")[:, np.newaxis].view(np.uint8)
    return np.concatenate([n.half(d), high_bytes, low, packed], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    low = np.stack([blocks[:, 4:8] & 15, blocks[:, 4:8] >> 4], axis=2).reshape(-1, 8)
    high = np.stack([blocks[:, 2 + j // 4] >> 2 * (j % 4) & 3 for j in range(8)], axis=1)
    scale = n.widen(blocks[:, :2])[:, np.newaxis] * ((low | high << 4).astype(np.float32) - n.F(32))
    levels = n.unnibbles(blocks[:, 8:].reshape(-1, 16)).reshape(-1, 8, 32)
    values: n.Floats = scale[:, :, np.newaxis] * n.UNEVEN[levels]
    return values.reshape(-1)
