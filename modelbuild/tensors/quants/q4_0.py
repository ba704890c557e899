"""q4_0: 32 levels of 4 bits around 8, and one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

GGML_TYPE = 2
BLOCK = 32
BYTES = 18
HALVES = (0,)


def quantize(values: Floats) -> Bytes:
    """d takes the value of the largest magnitude to level 0. (quantize_row_q4_0_ref)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    x = n.columns(values, BLOCK)
    d = n.first_absmax(x)[0] / n.F(-8)
    q = np.minimum(n.truncated(x * n.inverse(d) + n.F(8.5)).astype(np.int8), 15).astype(np.uint8).T
    return _pack(d, q)


def quantize_weighted(rows: Floats, importance: Floats) -> Bytes:
    """(quantize_row_q4_0_impl)"""
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    w = n.spread_weights(rows, importance, rows.shape[1], 1, rows.shape[1])
    d, levels = n.symmetric_search(n.columns(rows, BLOCK), 8, n.columns(w, BLOCK))
    return _pack(d, levels.T.astype(np.uint8))


def _pack(d: Floats, q: Bytes) -> Bytes:
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    return np.concatenate([n.half(d), n.nibbles(q)], axis=1).reshape(-1)


def dequantize(data: Bytes) -> Floats:
    import numpy as np

    from modelbuild.tensors.quants import _numpy as n

    blocks = data.reshape(-1, BYTES)
    q = n.unnibbles(blocks[:, 2:]).astype(np.float32) - n.F(8)
    return (q * n.widen(blocks[:, :2])[:, np.newaxis]).reshape(-1)
