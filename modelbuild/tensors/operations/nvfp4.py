"""NVFP4 as checkpoints store it, packed into ggml's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations import _nibbles
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def nvfp4(blocks: Expression, scales: Expression) -> Expression:
    """[rows, columns]; no value changes but that of a negative scale, which loses its sign as in llama.cpp.

    blocks  u8 [rows, columns / 2], element 2i in the low nibble of byte i and 2i + 1 in the high one
    scales  f8_e4m3 (or u8 of the same bits) [rows, columns / 16]
    Source: llama.cpp conversion, ModelBase._nvfp4_pack. Raises ValueError where dtypes or shapes do not fit, or rows are not
    whole blocks of 64.
    """
    if blocks.dtype != "u8" or scales.dtype not in ("f8_e4m3", "u8") or len(blocks.shape) != 2:
        raise ValueError(f"NVFP4 expects bytes and their scales, got {blocks.dtype} and {scales.dtype}")
    rows, columns = blocks.shape[0], 2 * blocks.shape[1]
    if columns % 64 or scales.shape != (rows, columns // 16):
        raise ValueError(f"NVFP4 values {list(blocks.shape)} and scales {list(scales.shape)} do not fit each other")
    return Expression("nvfp4", (), "nvfp4", (rows, columns), (blocks, scales))


def unit(x: Expression) -> int:
    return _nibbles.unit(x, 16)


def footprint(x: Expression, first: int, count: int) -> int:
    return _nibbles.footprint(x, first, count, 16)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source, factors = _nibbles.operands(x, reader, name, first, count, 16)
    out = reader.buffer(x.bytes_of(count))
    packed = np.frombuffer(out, np.uint8).reshape(-1, 36)
    packed[:, :4] = np.frombuffer(factors, np.uint8).reshape(-1, 4) & 0x7F
    # Of each sixteen elements, 0 to 7 lie in the first four bytes, 8 to 15 in the last four.
    even, odd = _nibbles.halves(source, 4)
    packed[:, 4::2], packed[:, 5::2] = even.reshape(-1, 16), odd.reshape(-1, 16)
    reader.give_back(source)
    reader.give_back(factors)
    return out
