"""f32: IEEE single precision."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 0
BLOCK = 1
BYTES = 4
HALVES = ()


def quantize(values: n.Floats) -> n.Bytes:
    return values.astype("<f4").view(np.uint8)


def dequantize(data: n.Bytes) -> n.Floats:
    return np.frombuffer(data, "<f4").astype(np.float32)
