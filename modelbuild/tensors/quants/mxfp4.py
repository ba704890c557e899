"""mxfp4: 32 floats of 4 bits (e2m1) and a power of two."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 39
BLOCK = 32
BYTES = 17
HALVES = ()


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_mxfp4_ref)"""
    x = values.reshape(-1, BLOCK)
    top = np.max(np.abs(x), axis=1)
    exponent = n.floor_log2(np.where(top > 0, top, n.F(1))) - 2 + 127
    e = np.where(top > 0, exponent, 0).astype(np.uint8)
    s = n.half_power_of_two(e)[:, np.newaxis]
    best = np.abs(n.E2M1[0] * s - x)
    levels = np.zeros(x.shape, np.uint8)
    for level in range(1, 16):
        error = np.abs(n.E2M1[level] * s - x)
        levels = np.where(error < best, np.uint8(level), levels)
        best = np.where(error < best, error, best)
    return np.concatenate([e[:, np.newaxis], n.nibbles(levels)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    values: n.Floats = n.E2M1[n.unnibbles(blocks[:, 1:])] * n.half_power_of_two(blocks[:, 0])[:, np.newaxis]
    return values.reshape(-1)
