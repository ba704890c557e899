"""f16: IEEE half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 1
BLOCK = 1
BYTES = 2
HALVES = (0,)


def quantize(values: Floats) -> Bytes:
    """To nearest even; what is too large becomes infinite, NaN 0x7e00 with its sign."""
    from modelbuild.tensors.quants import _numpy as n

    return n.half(values).reshape(-1)


def dequantize(data: Bytes) -> Floats:
    import numpy as np

    return np.frombuffer(data, "<f2").astype(np.float32)
