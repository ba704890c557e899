"""One over each value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def reciprocal(x: Expression) -> Expression:
    """1 / x in f32, rounded once; infinite where x is zero."""
    return Expression("reciprocal", (), "f32", x.shape, (cast("f32", x),))


def unit(x: Expression) -> int:
    return x.operands[0].unit


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    with np.errstate(divide="ignore"):
        np.divide(np.float32(1), np.frombuffer(source, "<f4"), out=np.frombuffer(out, "<f4"))
    reader.give_back(source)
    return out
