"""Another float type, rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors import packing, quants
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def cast(dtype: str, x: Expression) -> Expression:
    """Round to another float type (f32, f16, bf16), nearest even; the identity where the dtype is the same.

    What is no float of those three (f64, integers, f8_e4m3, f8_e5m2) can be cast to f32 alone.
    """
    if x.dtype == dtype:
        return x
    x = narrow(x)
    return x if x.dtype == dtype else Expression("cast", (), dtype, x.shape, (x,))


def narrow(x: Expression) -> Expression:
    """See through a widening, which changes no value: whatever is made of it is the same as if made of its operand."""
    widened = x.operation == "cast" and x.dtype == "f32" and x.operands[0].dtype in ("f16", "bf16")
    return x.operands[0] if widened else x


def unit(x: Expression) -> int:
    return x.operands[0].unit


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    (operand,) = x.operands
    source = reader.evaluate(operand, name, first, count)
    out = reader.buffer(x.bytes_of(count))
    if operand.dtype in quants.FLOATS:
        packing.quantize(x.dtype, operand.dtype, source, out)
    else:
        packing.widen(operand.dtype, source, out)
    reader.give_back(source)
    return out
