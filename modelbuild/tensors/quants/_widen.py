"""Dtypes that checkpoints hold and ggml cannot compute with: their sizes, and their values as f32."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer
    from numpy.typing import NDArray

FORMS = {
    "f64": "<f8", "i64": "<i8", "i32": "<i4", "i16": "<i2", "i8": "i1", "u64": "<u8", "u32": "<u4", "u16": "<u2", "u8": "u1",
    "bool": "u1",
}  # fmt: skip
"""dtype -> numpy's spelling of it."""


def widen(dtype: str, source: ReadableBuffer, out: WriteableBuffer) -> None:
    """Write the values of `source` as little-endian f32, rounded to nearest even.

    Raises ValueError for a dtype that is none of FORMS, f8_e4m3, f8_e5m2 or f8_e8m0.
    """
    to = np.frombuffer(memoryview(out), np.dtype("<f4"))
    if dtype in ("f8_e4m3", "f8_e5m2", "f8_e8m0"):
        to[:] = _table(dtype)[np.frombuffer(memoryview(source), np.uint8)]
    elif dtype in FORMS:
        with np.errstate(over="ignore"):
            to[:] = np.frombuffer(memoryview(source), np.dtype(FORMS[dtype]))
    else:
        raise ValueError(f"{dtype} values cannot be widened")


@cache
def _table(dtype: str) -> NDArray[np.float32]:
    """The value of each of the 256 codes (OCP 8-bit floating point, as torch names them: float8_e4m3fn, float8_e5m2, float8_e8m0fnu)."""
    code = np.arange(256, dtype=np.int64)
    if dtype == "f8_e8m0":
        # Powers of two without a sign; the smallest is subnormal.
        powers: NDArray[np.float32] = np.where(code < 255, np.ldexp(1.0, code - 127), np.nan).astype(np.float32)
        return powers
    fraction_bits = 3 if dtype == "f8_e4m3" else 2
    bias = 7 if dtype == "f8_e4m3" else 15
    exponent = code >> fraction_bits & (127 >> fraction_bits)
    fraction = code & ((1 << fraction_bits) - 1)
    normal = exponent > 0
    magnitude = np.ldexp(
        (fraction + (normal << fraction_bits)).astype(np.float64), np.maximum(exponent, 1) - bias - fraction_bits
    )
    if dtype == "f8_e4m3":
        magnitude[code & 127 == 127] = np.nan
    else:
        magnitude[exponent == 31] = np.where(fraction[exponent == 31] == 0, np.inf, np.nan)
    values: NDArray[np.float32] = np.where(code < 128, magnitude, -magnitude).astype(np.float32)
    return values
