"""Values that quantizers stumble over: families of float32 data, all finite, some too large for the scales of a format."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def families(count: int, seed: int = 0) -> Iterator[tuple[str, Floats]]:
    """(name, count values); count is a multiple of 256."""
    random = np.random.default_rng(seed)
    gauss = random.standard_normal(count).astype(np.float32)

    def f32(values: npt.ArrayLike) -> Floats:
        return np.asarray(values, dtype=np.float32)

    yield "gauss", gauss * np.float32(0.02)
    outliers = gauss * np.float32(0.02)
    outliers[random.integers(0, count, count // 200)] *= 100
    yield "outliers", outliers
    yield "zeros", np.zeros(count, np.float32)
    yield "negative zeros", -np.zeros(count, np.float32)
    yield "zeros of either sign", f32(np.where(random.random(count) < 0.5, -0.0, 0.0))
    yield "constant", np.full(count, 0.37, np.float32)
    yield "negative constant", np.full(count, -1.5, np.float32)
    yield "constant in each 32", np.repeat(gauss[: count // 32], 32)
    for exponent in (-45, -42, -40, -38, -37, -36, -30, -18, -15, -14, 4, 18):
        yield f"gauss * 1e{exponent}", f32(gauss.astype(np.float64) * 10.0**exponent)
    for exponent in (30, 37):
        yield f"clipped gauss * 1e{exponent}", f32(np.clip(gauss, -3, 3).astype(np.float64) * 10.0**exponent)
    top = np.finfo(np.float32).max
    yield "largest", f32(np.where(random.random(count) < 0.5, top, -top))
    yield "alternating", f32(np.where(np.arange(count) % 2, -0.5, 0.5))
    yield "student t, 2", f32(random.standard_t(2, count))
    yield "cauchy", f32(np.clip(random.standard_cauchy(count), -1e30, 1e30))
    yield "laplace", f32(random.laplace(size=count))
    yield "lognormal", f32(random.lognormal(0, 3, count))
    yield "positive", np.abs(gauss)
    yield "negative", -np.abs(gauss)
    for size in (256, 32, 16):
        scales = np.repeat(10.0 ** random.uniform(-20, 20, count // size), size)
        yield f"a wild scale each {size}", f32(scales * gauss)
    yield "sparse", f32(np.where(random.random(count) < 0.02, gauss, 0))
    yield (
        "sparse among zeros of either sign",
        f32(np.where(random.random(count) < 0.1, gauss, np.where(random.random(count) < 0.5, 0.0, -0.0))),
    )
    yield "sixteenths", f32(random.integers(-16, 17, count) / 16)
    yield "small integers", f32(random.integers(-3, 4, count))
    yield "ternary", f32(random.integers(-1, 2, count))
    yield "mixed exponents", np.ldexp(gauss, random.integers(-60, 60, count)).astype(np.float32)
    yield "powers of two", f32(np.ldexp(random.choice([-1.0, 1.0], count), random.integers(-20, 20, count)))
    yield "offset", gauss * np.float32(1e-3) + np.float32(5)
    yield "negative offset", gauss * np.float32(1e-3) - np.float32(5)
    yield "two ranges", f32(np.where(random.random(count) < 0.1, gauss * 1e6, gauss * 1e-6))
    yield "one large among tiny", f32(np.where(np.arange(count) % 256 == 77, 1e3, gauss * 1e-9))
    yield "bf16", (gauss.view(np.uint32) & 0xFFFF0000).view(np.float32)
    yield "f16", gauss.astype(np.float16).astype(np.float32)
    bits = random.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    yield "random bits", np.where(np.isfinite(bits), bits, np.float32(0))


def importances(columns: int, seed: int = 0) -> Iterator[tuple[str, Floats]]:
    """(name, weights of the columns of a row), all finite; what an importance matrix holds, and what it should not."""
    random = np.random.default_rng(seed)
    gauss = random.standard_normal(columns)

    def f32(values: npt.ArrayLike) -> Floats:
        return np.asarray(values, dtype=np.float32)

    yield "squares", f32(gauss * gauss)
    yield "ones", np.ones(columns, np.float32)
    yield "zeros", np.zeros(columns, np.float32)
    yield "negative zeros", -np.zeros(columns, np.float32)
    yield "half zeros", f32(np.where(np.arange(columns) // 16 % 2, 0, gauss * gauss))
    yield "sparse", f32(np.where(random.random(columns) < 0.05, 1, 0))
    yield "mixed exponents", f32(np.ldexp(gauss * gauss, random.integers(-30, 30, columns)))
    yield "huge", f32(gauss * gauss * 1e37)
    yield "subnormal", f32(gauss * gauss * 1e-40)
    yield "of either sign", f32(gauss)


def paired(count: int, columns: int, each: int, seed: int = 0) -> Iterator[tuple[str, Floats, Floats]]:
    """(name, values, weights): every family with `each` importances in turn, so that each of these is met often."""
    weights = list(importances(columns, seed))
    for number, (name, values) in enumerate(families(count, seed)):
        for of, chosen in (weights[(number * each + i) % len(weights)] for i in range(each)):
            yield f"{name}, weights {of}", values, chosen


def lcg(count: int, seed: int) -> Floats:
    """The generator of the test vectors: values in -1..1, exact in f32."""
    state, values = seed, []
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(((state >> 8) - 8388608) * 2.0**-23)
    return np.array(values, np.float32)
