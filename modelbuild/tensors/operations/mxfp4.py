"""MXFP4 as checkpoints store it, packed into ggml's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations import _nibbles
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def mxfp4(blocks: Expression, scales: Expression) -> Expression:
    """[..., rows, columns]; no value changes.

    blocks  u8 [..., rows, columns / 32, 16], element 2i in the low nibble of byte i and 2i + 1 in the high one
    scales  u8 [..., rows, columns / 32], the exponent (E8M0) of each block
    Source: llama.cpp conversion, GptOssModel.repack_mxfp4. Raises ValueError where dtypes or shapes do not fit.
    """
    if (blocks.dtype, scales.dtype) != ("u8", "u8") or blocks.shape != (*scales.shape, 16):
        raise ValueError(f"MXFP4 blocks {list(blocks.shape)} and scales {list(scales.shape)} do not fit each other")
    return Expression("mxfp4", (), "mxfp4", (*scales.shape[:-1], scales.shape[-1] * 32), (blocks, scales))


def unit(x: Expression) -> int:
    return _nibbles.unit(x, 32)


def footprint(x: Expression, first: int, count: int) -> int:
    return _nibbles.footprint(x, first, count, 32)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source, exponents = _nibbles.operands(x, reader, name, first, count, 32)
    out = reader.buffer(x.bytes_of(count))
    packed = np.frombuffer(out, np.uint8).reshape(-1, 17)
    packed[:, 0] = np.frombuffer(exponents, np.uint8)
    # Elements 0 to 15 lie in the first eight bytes, 16 to 31 in the last eight.
    packed[:, 1::2], packed[:, 2::2] = _nibbles.halves(source, 8)
    reader.give_back(source)
    reader.give_back(exponents)
    return out
