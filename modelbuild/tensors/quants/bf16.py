"""bf16: the upper half of an f32."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 30
BLOCK = 1
BYTES = 2
HALVES = ()


def quantize(values: n.Floats) -> n.Bytes:
    """To nearest even; a NaN keeps its upper half and becomes quiet. (ggml_compute_fp32_to_bf16)"""
    bits = values.view(np.uint32)
    even = bits + (0x7FFF + (bits >> 16 & 1))
    return (np.where(np.isnan(values), bits | 0x400000, even) >> 16).astype("<u2").view(np.uint8)


def dequantize(data: n.Bytes) -> n.Floats:
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
