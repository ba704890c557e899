"""f16: IEEE half precision."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 1
BLOCK = 1
BYTES = 2
HALVES = (0,)


def quantize(values: n.Floats) -> n.Bytes:
    """To nearest even; what is too large becomes infinite, NaN 0x7e00 with its sign."""
    return n.half(values).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    return np.frombuffer(data, "<f2").astype(np.float32)
