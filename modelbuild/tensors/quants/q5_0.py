"""q5_0: 32 levels of 5 bits around 16, and one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 6
BLOCK = 32
BYTES = 22
HALVES = (0,)


def quantize(values: Floats) -> Bytes:
    """d takes the value of the largest magnitude to level 0. (quantize_row_q5_0_ref)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    x = n.columns(values, BLOCK)
    d = n.first_absmax(x)[0] / n.F(-16)
    q = np.minimum(n.truncated(x * n.inverse(d) + n.F(16.5)).astype(np.int8), 31).astype(np.uint8).T
    return _pack(d, q)


def quantize_weighted(rows: Floats, importance: Floats) -> Bytes:
    """(quantize_row_q5_0_impl)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    w = n.spread_weights(rows, importance, rows.shape[1], 1, rows.shape[1])
    d, levels = n.symmetric_search(n.columns(rows, BLOCK), 16, n.columns(w, BLOCK))
    return _pack(d, levels.T.astype(np.uint8))


def _pack(d: Floats, q: Bytes) -> Bytes:
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    fifth = np.packbits(q >> 4 & 1, axis=1, bitorder="little")
    return np.concatenate([n.half(d), fifth, n.nibbles(q & 15)], axis=1).reshape(-1)


def dequantize(data: Bytes) -> Floats:
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    blocks = data.reshape(-1, BYTES)
    fifth = np.unpackbits(blocks[:, 2:6].view(np.uint8), axis=1, bitorder="little")
    q = (n.unnibbles(blocks[:, 6:]) | fifth << 4).astype(np.float32) - n.F(16)
    values: Floats = q * n.widen(blocks[:, :2])[:, np.newaxis]
    return values.reshape(-1)
