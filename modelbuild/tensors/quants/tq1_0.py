"""tq1_0: 256 values -d, 0 or d, five to a byte."""

from __future__ import annotations

from modelbuild.tensors.lazy import np
from modelbuild.tensors.quants._shared import n

GGML_TYPE = 34
BLOCK = 256
BYTES = 54
HALVES = (52,)


def quantize(values: n.Floats) -> n.Bytes:
    """(quantize_row_tq1_0_ref)"""
    d, trits = n.ternary(values)

    def packed(t: n.Bytes) -> n.Bytes:
        """`[m, digits, k]` -> `[m, k]`: the digits, first one highest, as a fraction of 256."""
        v = np.zeros((len(t), t.shape[2]), np.uint16)
        for i, power in enumerate((81, 27, 9, 3, 1)[: t.shape[1]]):
            v += t[:, i].astype(np.uint16) * np.uint16(power)
        return ((v * np.uint16(256) + np.uint16(242)) // np.uint16(243)).astype(np.uint8)

    first, second, third = trits[:, :160], trits[:, 160:240], trits[:, 240:]
    pieces = [packed(first.reshape(-1, 5, 32)), packed(second.reshape(-1, 5, 16)), packed(third.reshape(-1, 4, 4))]
    return np.concatenate([*pieces, d], axis=1).reshape(-1)


def dequantize(data: n.Bytes) -> n.Floats:
    blocks = data.reshape(-1, BYTES)

    def digits(packed: n.Bytes, count: int) -> n.Bytes:
        powers = np.array([1, 3, 9, 27, 81][:count], np.uint8)
        shifted = packed.astype(np.uint8)[:, np.newaxis] * powers[:, np.newaxis]
        return (shifted.astype(np.uint16) * 3 >> 8).reshape(len(packed), -1)

    t = np.concatenate([digits(blocks[:, :32], 5), digits(blocks[:, 32:48], 5), digits(blocks[:, 48:52], 4)], axis=1)
    values: n.Floats = (t.astype(np.float32) - n.F(1)) * n.widen(blocks[:, 52:])[:, np.newaxis]
    return values.reshape(-1)
