"""The searches for the scales of sub-blocks: each tries candidates, and takes the one with the least error.

Sub-blocks are columns, as in _numpy.py: values, weights and levels are `[elements, sub-blocks]`, scales and minima `[sub-blocks]`.
"""

from __future__ import annotations

import numpy as np

from modelbuild.tensors.quants._numpy import (
    EPSILON,
    UNEVEN,
    F,
    Floats,
    Ints,
    extremes,
    first_absmax,
    nearest,
    total,
    uneven_levels,
)


def symmetric(x: Floats, n: int, weights: Floats | None = None) -> tuple[Floats, Ints]:
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


def descent(x: Floats, n: int) -> tuple[Floats, Ints]:
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


def affine(
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


def weighted_affine(x: Floats, w: Floats, n: int) -> tuple[Floats, Floats, Ints]:
    """`make_qkx3_quants`, as it is called everywhere: `affine` among 37 candidates. Its weights are given."""
    return affine(x, w, n, -0.9, 0.05, 36)


def positive(x: Floats, w: Floats, n: int) -> tuple[Floats, Ints]:
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


def uneven(x: Floats, weights: Floats | None = None) -> Floats:
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
