"""tq2_0: 256 values -d, 0 or d, four to a byte."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 35
BLOCK = 256
BYTES = 66
HALVES = (64,)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_tq2_0_ref)"""
    d, trits = n.ternary(values)
    return np.concatenate([n.pack_fours(trits), d], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)
    t = n.unpack_fours(blocks[:, :64]).astype(np.float32) - n.F(1)
    values: n.Floats = t * n.widen(blocks[:, 64:])[:, np.newaxis]
    return values.reshape(-1)
