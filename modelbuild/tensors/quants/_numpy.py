"""What the numpy versions of the formats share: primitives, and the searches for scales.

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


def symmetric_search(x: Floats, n: int, weights: Floats | None = None) -> tuple[Floats, Ints]:
    """Scale and levels 0..2n-1 with the least weighted squared error among 19 candidates: `make_qx_quants`, rmse_type 1.

    Weights are x*x unless given. A column of zeros (below 1e-15) has scale 0 and levels 0.
    """
    value, magnitude = first_absmax(x)
    w = x * x if weights is None else weights
    wx = w * x

    def attempt(g: Floats) -> tuple[Ints, Floats, Floats]:
        levels = np.clip(nearest(g * x), -n, n - 1)
        l = levels.astype(np.float32)  # noqa: E741
        return levels, total(wx * l), total(w * l * l)

    best_levels, sum_x, sum_2 = attempt(F(-n) / value)
    scale = np.where(sum_2 != 0, sum_x / sum_2, F(0))
    best = scale * sum_x
    for step in [*range(-9, 0), *range(1, 10)]:
        levels, sum_x, sum_2 = attempt(-(F(n) + F(0.1) * F(step)) / value)
        better = (sum_2 > 0) & (sum_x * sum_x > best * sum_2)
        scale = np.where(better, sum_x / sum_2, scale)
        best = np.where(better, scale * sum_x, best)
        best_levels = np.where(better, levels, best_levels)
    dead = magnitude < EPSILON
    return np.where(dead, F(0), scale), np.where(dead, 0, best_levels + n).astype(np.int32)


def descent_search(x: Floats, n: int) -> tuple[Floats, Ints]:
    """A scale and levels 0..2n-1, found by moving one level at a time, up to five rounds: `make_q3_quants`."""
    value, magnitude = first_absmax(x)
    w = x * x
    wx = w * x
    levels = np.clip(nearest(F(-n) / value * x), -n, n - 1).astype(np.float32)
    sum_x = total(wx * levels)
    sum_2 = total(w * levels * levels)
    for _ in range(5):
        moved = False
        for i in range(len(x)):
            a = sum_x - wx[i] * levels[i]
            b = sum_2 - w[i] * levels[i] * levels[i]
            level = np.clip(nearest(x[i] * b / a), -n, n - 1).astype(np.float32)
            move = (a > 0) & (level != levels[i])
            a = a + wx[i] * level
            b = b + w[i] * level * level
            move &= (b > 0) & (a * a * sum_2 > sum_x * sum_x * b)
            levels[i] = np.where(move, level, levels[i])
            sum_x = np.where(move, a, sum_x)
            sum_2 = np.where(move, b, sum_2)
            moved |= bool(move.any())
        if not moved:
            break
    dead = magnitude < EPSILON
    scale = np.where(sum_2 > 0, sum_x / sum_2, F(0))
    return np.where(dead, F(0), scale), np.where(dead, 0, levels.astype(np.int32) + n).astype(np.int32)


def affine_search(
    x: Floats, w: Floats, n: int, start: float, step: float, steps: int, *, absolute: bool = False
) -> tuple[Floats, Floats, Ints]:
    """Scale, negated minimum and levels 0..n with the least weighted error: `make_qkx2_quants`.

    The candidates' inverse scales are (start + step * s + n) / range for s = 0..steps. Errors are squared, or absolute.
    """
    low, high = extremes(x)
    sum_w = w[0]
    sum_wx = sum_w * x[0]
    for i in range(1, len(x)):
        sum_w = sum_w + w[i]
        sum_wx = sum_wx + w[i] * x[i]
    low = np.where(low > 0, F(0), low)
    flat = high == low

    def error(scale: Floats, levels: Floats, low: Floats) -> Floats:
        d = scale * levels + low - x
        return total(w * (np.abs(d) if absolute else d * d))

    def rounded(g: Floats, low: Floats) -> Floats:
        return np.clip(nearest(g * (x - low)), 0, n).astype(np.float32)

    g = F(n) / (high - low)
    scale = F(1) / g
    levels = rounded(g, low)
    best = error(scale, levels, low)
    for s in range(steps + 1):
        l = rounded((F(start) + F(step) * F(s) + F(n)) / (high - low), low)  # noqa: E741
        wl = w * l
        sum_l, sum_l2, sum_xl = total(wl), total(wl * l), total(wl * x)
        D = sum_w * sum_l2 - sum_l * sum_l
        a = (sum_w * sum_xl - sum_wx * sum_l) / D
        b = (sum_l2 * sum_wx - sum_l * sum_xl) / D
        a = np.where(b > 0, sum_xl / sum_l2, a)
        b = np.where(b > 0, F(0), b)
        e = error(a, l, b)
        better = (D > 0) & (e < best) & ~flat
        levels = np.where(better, l, levels)
        best = np.where(better, e, best)
        scale = np.where(better, a, scale)
        low = np.where(better, b, low)
    return np.where(flat, F(0), scale), -low, np.where(flat, 0, levels).astype(np.int32)


def weighted_affine_search(x: Floats, w: Floats, n: int) -> tuple[Floats, Floats, Ints]:
    """`make_qkx3_quants`, as it is called everywhere: `affine_search` among 37 candidates. Its weights are given."""
    return affine_search(x, w, n, -0.9, 0.05, 36)


def positive_search(x: Floats, w: Floats, n: int) -> tuple[Floats, Ints]:
    """Scale and levels for what should be 0 or more, with the least weighted squared error: `make_qp_quants`.

    The best of 9 scales, then one level moved at a time, up to five rounds. Levels are at most n; those of negative
    values wrap to 255 and below, since the reference keeps them in a byte.
    """
    top = np.zeros(x.shape[1:], np.float32)
    for row in x:
        top = np.where(top > row, top, row)

    def error(scale: Floats, levels: Ints) -> Floats:
        d = x - scale * levels.astype(np.float32)
        return total(w * d * d)

    def at_most_n(v: Floats) -> Ints:
        return np.minimum(nearest(v), n)

    g = F(n) / top
    best = error(F(1) / g, nearest(g * x) & 255)
    for step in (-4, -3, -2, -1, 1, 2, 3, 4):
        candidate = (F(0.1) * F(step) + F(n)) / top
        e = error(F(1) / candidate, at_most_n(candidate * x))
        better = e < best
        best = np.where(better, e, best)
        g = np.where(better, candidate, g)
    levels = at_most_n(g * x)
    l = levels.astype(np.float32)  # noqa: E741
    sum_x, sum_2 = total(w * x * l), total(w * l * l)
    levels &= 255
    for _ in range(5):
        moved = False
        for i in range(len(x)):
            l = levels[i].astype(np.float32)  # noqa: E741
            a = sum_x - w[i] * x[i] * l
            b = sum_2 - w[i] * l * l
            level = at_most_n(x[i] * b / a)
            move = (a > 0) & (b > 0) & (level != levels[i])
            l = level.astype(np.float32)  # noqa: E741
            a = a + w[i] * x[i] * l
            b = b + w[i] * l * l
            move &= a * a * sum_2 > sum_x * sum_x * b
            levels[i] = np.where(move, level & 255, levels[i])
            sum_x = np.where(move, a, sum_x)
            sum_2 = np.where(move, b, sum_2)
            moved |= bool(move.any())
        if not moved:
            break
    dead = top < EPSILON
    scale = np.where(sum_2 > 0, sum_x / sum_2, F(0))
    return np.where(dead, F(0), scale), np.where(dead, 0, levels)


def affine_superblocks(values: Floats, n: int, start: float, steps: int) -> tuple[Bytes, Bytes]:
    """The 16 bytes that a block of q4_K (n = 15) or q5_K (n = 31) starts with, and its levels 0..n `[blocks, 256]`.

    The bytes: d and dmin as f16, then 6-bit codes of 8 scales and 8 mins.
    """
    x = columns(values, 32)
    w = np.sqrt(total(x * x) / F(32)) + np.abs(x)
    scale, minimum, searched = affine_search(x, w, n, start, 0.1, steps)

    def six_bit(v: Floats) -> tuple[Floats, Ints]:
        per_block = columns(v, 8)
        top = largest(per_block)
        g = np.where(top > 0, F(63) / top, F(0))
        return top / F(63), np.minimum(nearest(g * per_block) & 255, 63)

    return _affine_superblocks(x, n, *six_bit(scale), *six_bit(minimum), searched)


def weighted_affine_superblocks(rows: Floats, importance: Floats, n: int) -> tuple[Bytes, Bytes]:
    """The same with importances of the columns; codes fit where nothing is negative, and are as found where not."""
    x = columns(rows, 32)
    w = columns(spread_weights(rows, importance, 256, 2, 256), 32)
    scale, minimum, searched = weighted_affine_search(x, w, n)
    sums = columns(total(w), 8)
    d, s = positive_search(columns(scale, 8), sums, 63)
    dmin, m = positive_search(columns(minimum, 8), sums, 63)

    def fitting(codes: Ints) -> Ints:
        if n == 31:
            return np.minimum(codes, 63)
        # q4_K does not clamp: bits 6 and 7 of codes 0..3 meet those of codes 4..7 that are packed there
        return np.concatenate([codes[:4] & 63, codes[4:] & 63 | codes[:4] >> 6 << 4])

    return _affine_superblocks(x, n, d, fitting(s), dmin, fitting(m), searched)


def _affine_superblocks(
    x: Floats, n: int, scale: Floats, s: Ints, minimum: Floats, m: Ints, searched: Ints
) -> tuple[Bytes, Bytes]:
    """Of scales and mins of the blocks, codes `[8, blocks]`, and the levels that stand where a scale is 0."""
    d, dmin = half(scale), half(minimum)
    D = (widen(d) * s.astype(np.float32)).T.reshape(-1)
    M = (widen(dmin) * m.astype(np.float32)).T.reshape(-1)
    levels = np.where(D != 0, np.clip(nearest((x + M) / D), 0, n), searched)
    low, high = s[:4] | s[4:] >> 4 << 6, m[:4] | m[4:] >> 4 << 6
    codes = np.concatenate([low, high, s[4:] & 15 | (m[4:] & 15) << 4]).astype(np.uint8)
    return np.concatenate([d, dmin, codes.T], axis=1), levels.T.reshape(-1, 256).astype(np.uint8)


def affine_values(head: Bytes, levels: Bytes) -> Floats:
    """The values of `affine_superblocks`' head and levels."""
    codes = head[:, 4:]
    s = np.concatenate([codes[:, :4] & 63, codes[:, 8:] & 15 | codes[:, :4] >> 6 << 4], axis=1).astype(np.float32)
    m = np.concatenate([codes[:, 4:8] & 63, codes[:, 8:] >> 4 | codes[:, 4:8] >> 6 << 4], axis=1).astype(np.float32)
    d, dmin = widen(head[:, 0:2])[:, np.newaxis], widen(head[:, 2:4])[:, np.newaxis]
    q = levels.reshape(-1, 8, 32).astype(np.float32)
    return ((d * s)[:, :, np.newaxis] * q - (dmin * m)[:, :, np.newaxis]).reshape(-1)


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


def uneven_search(x: Floats, weights: Floats | None = None) -> Floats:
    """The scale with the least weighted squared error among 15 candidates: in `quantize_row_iq4_nl_impl`.

    Weights are x*x unless given.
    """
    value, magnitude = first_absmax(x)
    w = x * x if weights is None else weights

    def attempt(g: Floats) -> tuple[Floats, Floats]:
        q = UNEVEN[uneven_levels(g * x)]
        wq = w * q
        return total(wq * x), total(wq * q)

    sum_x, sum_2 = attempt(F(1) / (-value / UNEVEN[0]))
    scale = np.where(sum_2 > 0, sum_x / sum_2, F(0))
    best = scale * sum_x
    for step in range(-7, 8):
        sum_x, sum_2 = attempt((F(step) + UNEVEN[0]) / value)
        better = (sum_2 > 0) & (sum_x * sum_x > best * sum_2)
        scale = np.where(better, sum_x / sum_2, scale)
        best = np.where(better, scale * sum_x, best)
    return np.where(magnitude < EPSILON, F(0), scale)


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
