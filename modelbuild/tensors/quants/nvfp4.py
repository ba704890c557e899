"""nvfp4: 64 floats of 4 bits (e2m1), and a scale of 8 bits (e4m3, without its sign) for each 16."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 40
BLOCK = 64
BYTES = 36
HALVES = ()


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_nvfp4_ref)"""
    x = values.reshape(-1, 16)
    codes = _codes(np.max(np.abs(x), axis=1) / n.F(6))
    s = _half_scales(codes)[:, np.newaxis]
    best = np.abs(n.E2M1[0] * s - x)
    levels = np.zeros(x.shape, np.uint8)
    for level in range(1, 16):
        error = np.abs(n.E2M1[level] * s - x)
        levels = np.where(error < best, np.uint8(level), levels)
        best = np.where(error < best, error, best)
    packed = levels[:, :8] | levels[:, 8:] << 4
    return np.concatenate([codes.reshape(-1, 4), packed.reshape(-1, 32)], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    """(dequantize_row_nvfp4)"""
    blocks = data.reshape(-1, BYTES)
    packed = blocks[:, 4:].reshape(-1, 8)
    levels = np.concatenate([packed & 15, packed >> 4], axis=1)
    values: n.Floats = n.E2M1[levels] * _half_scales(blocks[:, :4].reshape(-1))[:, np.newaxis]
    return values.reshape(-1)


def _codes(scales: n.Floats) -> n.Bytes:
    """The codes of scales that are not negative, by ggml's rounding, which is up at the middle (ggml_fp32_to_ue4m3)."""
    x = np.minimum(scales, n.F(448))
    bits = x.view(np.uint32)
    exponent = (bits >> 23).astype(np.int32) - 120
    small = np.minimum((x * n.F(512) + n.F(0.5)).astype(np.int32), 7)
    # A fraction that is rounded up to eight goes on in the exponent; from 248 on the largest code is taken.
    normal = (exponent << 3) + ((bits >> 20 & 7) + (bits >> 19 & 1)).astype(np.int32)
    normal = np.where(normal >= 15 << 3, 0x7E, normal)
    return np.where(exponent <= 0, small, normal).astype(np.uint8)


def _half_scales(codes: n.Bytes) -> n.Floats:
    """Half of what codes stand for; nothing for the one that is no number (ggml_ue4m3_to_fp32)."""
    exponent, fraction = codes >> 3 & 15, (codes & 7).astype(np.float32)
    normal = np.ldexp(n.F(1) + fraction / n.F(8), exponent.astype(np.int32) - 8)
    small = fraction * n.F(2**-10)
    found: n.Floats = np.where(codes == 0x7F, n.F(0), np.where(exponent == 0, small, normal)).astype(np.float32)
    return found
