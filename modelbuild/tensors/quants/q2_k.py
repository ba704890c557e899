"""q2_K: 16 sub-blocks of 16 levels of 2 bits, each with a 4-bit scale and minimum."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 10
BLOCK = 256
BYTES = 84
HALVES = (80, 82)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_q2_K_ref)"""

    def four_bit(v: n.Floats) -> tuple[n.Bytes, n.Bytes]:
        per_block = n.columns(v, 16)
        top = n.largest(per_block)
        codes = np.where(top > 0, n.nearest(n.F(15) / top * per_block), 0)
        return codes.astype(np.uint8), np.where((top > 0)[:, np.newaxis], n.half(top / n.F(15)), np.uint8(0))

    x = n.columns(values, 16)
    scale, minimum, searched = searches.affine(x, np.abs(x), 3, -0.5, 0.1, 15, absolute=True)
    s, d = four_bit(scale)
    m, dmin = four_bit(minimum)
    return _pack(x, d, dmin, s | m << 4, searched)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    """(quantize_row_q2_K_impl)"""
    x = n.columns(rows, 16)
    w = n.columns(n.spread_weights(rows, importance, 256, 1, 256), 16)
    scale, minimum, searched = searches.weighted_affine(x, w, 3)
    sums = n.columns(n.total(w), 16)
    d, s = searches.positive(n.columns(scale, 16), sums, 15)
    dmin, m = searches.positive(n.columns(minimum, 16), sums, 15)
    return _pack(x, n.half(d), n.half(dmin), (s | m << 4).astype(np.uint8), searched)


def _pack(x: n.Floats, d: n.Bytes, dmin: n.Bytes, codes: n.Bytes, searched: n.Ints) -> n.Bytes:
    """Of columns, f16 bytes, codes `[16, blocks]`, and the levels that stand where a scale is 0."""
    D = (n.widen(d) * (codes & 15).astype(np.float32)).T.reshape(-1)
    M = (n.widen(dmin) * (codes >> 4).astype(np.float32)).T.reshape(-1)
    levels = np.where(D != 0, np.clip(n.nearest((x + M) / D), 0, 3), searched)
    q = levels.T.reshape(-1, 256).astype(np.uint8)
    return np.concatenate([codes.T, n.pack_fours(q), d, dmin], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    codes = blocks[:, :16]
    scale = n.widen(blocks[:, 80:82])[:, np.newaxis] * (codes & 15).astype(np.float32)
    low = n.widen(blocks[:, 82:])[:, np.newaxis] * (codes >> 4).astype(np.float32)
    q = n.unpack_fours(blocks[:, 16:80]).astype(np.float32).reshape(-1, 16, 16)
    values: n.Floats = scale[:, :, np.newaxis] * q - low[:, :, np.newaxis]
    return values.reshape(-1)
