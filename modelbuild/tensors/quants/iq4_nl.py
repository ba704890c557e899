"""iq4_nl: 32 levels of 4 bits that stand for unevenly spaced values, and one scale."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n, searches

GGML_TYPE = 20
BLOCK = 32
BYTES = 18
HALVES = (0,)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_iq4_nl_impl with blocks of 32)"""
    return _pack(values, None)


def quantize_weighted(rows: n.Floats, importance: n.Floats) -> n.Bytes:
    return _pack(rows, n.spread_weights(rows, importance, BLOCK, 1, 16))


def _pack(values: n.Floats, weights: n.Floats | None) -> n.Bytes:
    x = n.columns(values, BLOCK)
    scale = searches.uneven(x, None if weights is None else n.columns(weights, BLOCK))
    levels = n.uneven_levels(n.inverse(scale) * x).T.astype(np.uint8)
    return np.concatenate([n.half(scale), n.nibbles(levels)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    values: n.Floats = n.widen(blocks[:, :2])[:, np.newaxis] * n.UNEVEN[n.unnibbles(blocks[:, 2:])]
    return values.reshape(-1)
