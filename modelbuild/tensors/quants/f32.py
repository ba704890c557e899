"""f32: IEEE single precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 0
BLOCK = 1
BYTES = 4
HALVES = ()


def quantize(values: Floats) -> Bytes:
    import numpy as np

    return values.astype("<f4").view(np.uint8)


def dequantize(data: Bytes) -> Floats:
    import numpy as np

    return np.frombuffer(data, "<f4").astype(np.float32)
