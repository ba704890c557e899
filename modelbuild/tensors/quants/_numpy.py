"""What the numpy versions of the formats share: rounding, extremes, and codes packed into bytes.

Everything is float32, one operation at a time, sums in the order of ggml-quants.c, which fixes every bit. Sub-blocks
are columns: an array of `[n, m]` is m sub-blocks of n elements, and a row of it element i of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.integer[Any]]
"""uint8, which numpy's stubs lose in `array & 15`."""

F = np.float32
EPSILON = F(1e-15)

_EXPONENTS: dict[str, tuple[npt.DTypeLike, int]] = {
    "f16": ("<u2", 0x7C00),
    "bf16": ("<u2", 0x7F80),
    "f32": ("<u4", 0x7F800000),
    "f64": ("<u8", 0x7FF0000000000000),
}


def as_bytes(buffer: ReadableBuffer) -> npt.NDArray[np.uint8]:
    """The buffer itself, as an array; writable if it is."""
    return np.frombuffer(memoryview(buffer).cast("B"), np.uint8)


def first_nonfinite(dtype: str, source: ReadableBuffer) -> int:
    kind, exponent = _EXPONENTS[dtype]
    bits: npt.NDArray[Any] = as_bytes(source).view(kind)
    for start in range(0, bits.size, 1 << 16):
        bad = (bits[start : start + (1 << 16)] & bits.dtype.type(exponent)) == exponent
        if bad.any():
            return start + int(bad.argmax())
    return -1


def first_overflow(blocks: Bytes, size: int, halves: tuple[int, ...]) -> int:
    """The first block (of `size` bytes) with an infinite or NaN f16 at one of those offsets; -1 where there is none."""
    bad = np.zeros(blocks.size // size, bool)
    for at in halves:
        bad |= (blocks.reshape(-1, size)[:, at + 1] & 0x7C) == 0x7C
    return int(bad.argmax()) if bad.any() else -1


def nearest(v: Floats) -> Ints:
    """Round half to even by the bits of v + 1.5 * 2^23; they define the result for what doesn't fit, too: `nearest_int`."""
    return ((v + F(12582912.0)).view(np.int32) & 0x7FFFFF) - 0x400000


def away(v: Floats) -> Floats:
    """Round half away from zero: roundf. (v + copysign(largest float below 0.5, v), truncated; exact for every v.)"""
    return np.trunc(v + np.copysign(F(0.49999997), v))


def truncated(v: Floats) -> Ints:
    """(int) v as x86 has it: what doesn't fit, and NaN, give -2^31 (of which the formats keep the low byte, 0)."""
    fits = np.abs(v) < F(2147483648.0)
    return np.where(fits, np.where(fits, v, F(0)).astype(np.int32), np.int32(-(2**31)))


def half(v: Floats) -> Bytes:
    """f32 -> f16 as bytes `[…, 2]`: nearest even, overflow to infinity, NaN to 0x7e00 with its sign."""
    bits = v.astype(np.float16).view(np.uint16)
    sign = (v.view(np.uint32) >> np.uint32(16)).astype(np.uint16) & np.uint16(0x8000)
    return np.where(np.isnan(v), sign | np.uint16(0x7E00), bits).astype("<u2")[..., np.newaxis].view(np.uint8)


def widen(halves: Bytes) -> Floats:
    """f16 bytes `[…, 2]` -> f32."""
    return np.ascontiguousarray(halves).view("<f2")[..., 0].astype(np.float32)


def columns(values: Floats, n: int) -> Floats:
    """Sub-blocks of n consecutive values, as columns `[n, m]`."""
    return np.ascontiguousarray(values.reshape(-1, n).T)


def total(terms: Floats) -> Floats:
    """Sum of the rows, one after the other from 0."""
    sum = np.zeros(terms.shape[1:], np.float32)
    for term in terms:
        sum = sum + term
    return sum


def spread_weights(rows: Floats, importance: Floats, span: int, times: int, over: int) -> Floats:
    """The weight of each value x of `[rows, columns]`: its column's importance times sqrt(v + x * x).

    v is times * (the sum of squares of the `span` values that x is among) / over.
    """
    x = rows.reshape(-1, span)
    sums = np.add.accumulate(x * x, axis=1)[:, -1:]
    spread: Floats = np.sqrt(F(times) * sums / F(over) + x * x).reshape(rows.shape)
    return importance * spread


def first_absmax(x: Floats) -> tuple[Floats, Floats]:
    """Per column the value of the largest magnitude (of equal ones the first), and that magnitude."""
    magnitude = np.zeros(x.shape[1:], np.float32)
    value = magnitude
    for row in x:
        larger = np.abs(row) > magnitude
        value = np.where(larger, row, value)
        magnitude = np.where(larger, np.abs(row), magnitude)
    return value, magnitude


def largest(x: Floats) -> Floats:
    """Per column the maximum, or 0 where nothing is positive."""
    top = np.zeros(x.shape[1:], np.float32)
    for row in x:
        top = np.where(row > top, row, top)
    return top


def extremes(x: Floats) -> tuple[Floats, Floats]:
    """Per column minimum and maximum; of equal ones (-0 and +0) the first."""
    low = high = x[0]
    for row in x[1:]:
        low = np.where(row < low, row, low)
        high = np.where(row > high, row, high)
    return low, high


def inverse(d: Floats) -> Floats:
    """1/d, and 0 for 0."""
    return np.where(d != 0, F(1) / d, F(0))


def nibbles(levels: Bytes) -> Bytes:
    """`[m, 32]` 4-bit codes -> `[m, 16]`: element j in the low nibble of byte j, element j + 16 in the high one."""
    return levels[:, :16] | levels[:, 16:] << 4


def unnibbles(packed: Bytes) -> Bytes:
    """The inverse of `nibbles`."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def pack_pairs(levels: Bytes) -> Bytes:
    """`[m, 256]` 4-bit codes -> `[m, 128]` as q4_K has them: of 64 elements, byte l holds l and l + 32."""
    q = levels.reshape(-1, 4, 2, 32)
    return (q[:, :, 0] & 15 | (q[:, :, 1] & 15) << 4).reshape(-1, 128)


def unpack_pairs(packed: Bytes) -> Bytes:
    """The inverse of `pack_pairs`."""
    q = packed.reshape(-1, 4, 1, 32)
    return np.concatenate([q & 15, q >> 4], axis=2).reshape(-1, 256)


def pack_fours(levels: Bytes) -> Bytes:
    """`[m, 256]` 2-bit codes -> `[m, 64]`: of 128 elements, byte l holds l, l + 32, l + 64 and l + 96."""
    q = (levels & 3).reshape(-1, 2, 4, 32)
    return (q[:, :, 0] | q[:, :, 1] << 2 | q[:, :, 2] << 4 | q[:, :, 3] << 6).reshape(-1, 64)


def unpack_fours(packed: Bytes) -> Bytes:
    """The inverse of `pack_fours`."""
    q = packed.reshape(-1, 2, 1, 32)
    return np.concatenate([q >> 2 * i & 3 for i in range(4)], axis=2).reshape(-1, 256)


def pack_bits(levels: Bytes) -> Bytes:
    """`[m, 256]` bits -> `[m, 32]`: element i is bit i // 32 of byte i % 32."""
    bits = levels.reshape(-1, 8, 32)
    packed = bits[:, 0]
    for j in range(1, 8):
        packed = packed | bits[:, j] << j
    return packed


def unpack_bits(packed: Bytes) -> Bytes:
    """The inverse of `pack_bits`."""
    return np.stack([packed >> j & 1 for j in range(8)], axis=1).reshape(-1, 256)


UNEVEN = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
"""What the levels of the iq4 formats stand for: `kvalues_iq4nl`."""

_BETWEEN = (UNEVEN[:-1] + UNEVEN[1:]) / F(2)

E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
"""Twice what the levels of mxfp4 stand for: `kvalues_mxfp4`."""


def uneven_levels(v: Floats) -> Ints:
    """The level whose value is nearest, of two the higher, and 15 for NaN: `best_index_int8`.

    Its comparison of two differences is exact where it is close, so the middle between two values decides.
    """
    return np.searchsorted(_BETWEEN, v, side="right").astype(np.int32)


def floor_log2(v: Floats) -> Ints:
    """floorf(log2f(v)) for v > 0. Just below a power of two 2^k the logarithm rounds up to k."""
    fraction, exponent = np.frexp(v)  # fraction in 0.5..1
    exponent = exponent.astype(np.int32)
    spacing = np.where(exponent > 0, exponent - 1, -exponent)
    # k - log2(v) is ulps * 2^-24 / ln 2, half the distance of floats next to k is 2^-24 * the power of two up to `spacing`
    power = np.where(spacing > 0, np.ldexp(F(1), np.frexp(spacing.astype(np.float32))[1] - 1), F(0))
    ulps = (F(1) - fraction) * F(2**24)
    return np.where(ulps <= np.floor(power * F(0.6931472)), exponent, exponent - 1)


def half_power_of_two(e: Bytes) -> Floats:
    """2^(e - 128): `ggml_e8m0_to_fp32_half`."""
    wide = e.astype(np.uint32)
    return np.where(wide < 2, np.uint32(0x00200000) << wide, (wide - 1) << 23).astype(np.uint32).view(np.float32)


def ternary(values: Floats) -> tuple[Bytes, Bytes]:
    """Largest magnitude as f16 bytes `[blocks, 2]`, and 0, 1 or 2 for each value `[blocks, 256]`."""
    x = values.reshape(-1, 256)
    d = np.max(np.abs(x), axis=1)
    trits = truncated(away(x * inverse(d)[:, np.newaxis])) + 1
    return half(d), (trits & 3).astype(np.uint8)
