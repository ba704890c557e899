"""A block format, unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors import packing
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def dequantize(x: Expression) -> Expression:
    """The values of a quantized tensor, as f32; of f16 or bf16 whatever they are, infinities too, which `cast` refuses."""
    return Expression("dequantize", (), "f32", x.shape, (x,))


def unit(x: Expression) -> int:
    return x.operands[0].unit


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    packing.dequantize(x.operands[0].dtype, source, out)
    reader.give_back(source)
    return out
