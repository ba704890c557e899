"""bf16: the upper half of an f32."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 30
BLOCK = 1
BYTES = 2
HALVES = ()


def quantize(values: Floats) -> Bytes:
    """To nearest even; a NaN keeps its upper half and becomes quiet. (ggml_compute_fp32_to_bf16)"""
    import numpy as np

    bits = values.view(np.uint32)
    even = bits + (0x7FFF + (bits >> 16 & 1))
    return (np.where(np.isnan(values), bits | 0x400000, even) >> 16).astype("<u2").view(np.uint8)


def dequantize(data: Bytes) -> Floats:
    import numpy as np

    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
