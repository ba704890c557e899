"""What q4_K and q5_K share: blocks of 8 sub-blocks, each with a 6-bit scale and minimum."""

from __future__ import annotations

import numpy as np

from modelbuild.tensors.quants import _searches as searches
from modelbuild.tensors.quants._numpy import (
    Bytes,
    F,
    Floats,
    Ints,
    columns,
    half,
    largest,
    nearest,
    spread_weights,
    total,
    widen,
)


def plain(values: Floats, n: int, start: float, steps: int) -> tuple[Bytes, Bytes]:
    """The 16 bytes that a block of q4_K (n = 15) or q5_K (n = 31) starts with, and its levels 0..n `[blocks, 256]`.

    The bytes: d and dmin as f16, then 6-bit codes of 8 scales and 8 mins.
    """
    x = columns(values, 32)
    w = np.sqrt(total(x * x) / F(32)) + np.abs(x)
    scale, minimum, searched = searches.affine(x, w, n, start, 0.1, steps)

    def six_bit(v: Floats) -> tuple[Floats, Ints]:
        per_block = columns(v, 8)
        top = largest(per_block)
        g = np.where(top > 0, F(63) / top, F(0))
        return top / F(63), np.minimum(nearest(g * per_block) & 255, 63)

    return _packed(x, n, *six_bit(scale), *six_bit(minimum), searched)


def weighted(rows: Floats, importance: Floats, n: int) -> tuple[Bytes, Bytes]:
    """The same with importances of the columns; codes fit where nothing is negative, and are as found where not."""
    x = columns(rows, 32)
    w = columns(spread_weights(rows, importance, 256, 2, 256), 32)
    scale, minimum, searched = searches.weighted_affine(x, w, n)
    sums = columns(total(w), 8)
    d, s = searches.positive(columns(scale, 8), sums, 63)
    dmin, m = searches.positive(columns(minimum, 8), sums, 63)

    def fitting(codes: Ints) -> Ints:
        if n == 31:
            return np.minimum(codes, 63)
        # q4_K does not clamp: bits 6 and 7 of codes 0..3 meet those of codes 4..7 that are packed there
        return np.concatenate([codes[:4] & 63, codes[4:] & 63 | codes[:4] >> 6 << 4])

    return _packed(x, n, d, fitting(s), dmin, fitting(m), searched)


def _packed(x: Floats, n: int, scale: Floats, s: Ints, minimum: Floats, m: Ints, searched: Ints) -> tuple[Bytes, Bytes]:
    """Of scales and mins of the blocks, codes `[8, blocks]`, and the levels that stand where a scale is 0."""
    d, dmin = half(scale), half(minimum)
    D = (widen(d) * s.astype(np.float32)).T.reshape(-1)
    M = (widen(dmin) * m.astype(np.float32)).T.reshape(-1)
    levels = np.where(D != 0, np.clip(nearest((x + M) / D), 0, n), searched)
    low, high = s[:4] | s[4:] >> 4 << 6, m[:4] | m[4:] >> 4 << 6
    codes = np.concatenate([low, high, s[4:] & 15 | (m[4:] & 15) << 4]).astype(np.uint8)
    return np.concatenate([d, dmin, codes.T], axis=1), levels.T.reshape(-1, 256).astype(np.uint8)


def values(head: Bytes, levels: Bytes) -> Floats:
    """The values of a block's head and levels."""
    codes = head[:, 4:]
    s = np.concatenate([codes[:, :4] & 63, codes[:, 8:] & 15 | codes[:, :4] >> 6 << 4], axis=1).astype(np.float32)
    m = np.concatenate([codes[:, 4:8] & 63, codes[:, 8:] >> 4 | codes[:, 4:8] >> 6 << 4], axis=1).astype(np.float32)
    d, dmin = widen(head[:, 0:2])[:, np.newaxis], widen(head[:, 2:4])[:, np.newaxis]
    q = levels.reshape(-1, 8, 32).astype(np.float32)
    return ((d * s)[:, :, np.newaxis] * q - (dmin * m)[:, :, np.newaxis]).reshape(-1)
