"""tq2_0: 256 values -d, 0 or d, four to a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 35
BLOCK = 256
BYTES = 66
HALVES = (64,)


def quantize(values: Floats) -> Bytes:
    """(quantize_row_tq2_0_ref)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    d, trits = n.ternary(values)
    return np.concatenate([n.pack_fours(trits), d], axis=1).reshape(-1)


def dequantize(data: Bytes) -> Floats:
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    blocks = data.reshape(-1, BYTES)
    t = n.unpack_fours(blocks[:, :64]).astype(np.float32) - n.F(1)
    values: Floats = t * n.widen(blocks[:, 64:])[:, np.newaxis]
    return values.reshape(-1)
