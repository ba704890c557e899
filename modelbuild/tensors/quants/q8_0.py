"""q8_0: 32 signed bytes and one scale."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 8
BLOCK = 32
BYTES = 34
HALVES = (0,)


def quantize(values: n.Floats) -> n.Bytes:
    """d = largest magnitude / 127, levels rounded half away from zero. (quantize_row_q8_0_ref)"""
    x = values.reshape(-1, BLOCK)
    d = np.max(np.abs(x), axis=1) / n.F(127)
    q = n.truncated(n.away(x * n.inverse(d)[:, np.newaxis])).astype(np.uint8)
    return np.concatenate([n.half(d), q], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    d = n.widen(blocks[:, :2])[:, np.newaxis]
    return (blocks[:, 2:].view(np.int8).astype(np.float32) * d).reshape(-1)
