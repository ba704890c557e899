"""The exponential of every value, negated: decays, which are stored as logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def neg_exp(x: Expression) -> Expression:
    """-e^x in the dtype of the tensor (f16, f32); anything else is cast to f32 first.

    The result is the exact value rounded to nearest, up to the rounding of f64: the same on every processor. torch's is that or one unit
    in the last place beside it, as its processor's instructions have it.
    Source: llama.cpp conversion, Qwen3NextModel.modify_tensors (A_log)
    """
    if x.dtype != "f16":
        x = cast("f32", x)
    return Expression("neg_exp", (), x.dtype, x.shape, (x,))


def unit(x: Expression) -> int:
    return x.operands[0].unit


def footprint(x: Expression, first: int, count: int) -> int:
    # The values in f64.
    return 8 * count + x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    dtype = np.dtype("<f2" if x.dtype == "f16" else "<f4")
    with np.errstate(all="ignore"):
        values = np.frombuffer(source, dtype).astype("<f8")
        np.exp(values, out=values)
        np.frombuffer(out, dtype)[:] = np.negative(values, out=values)
    reader.give_back(source)
    return out
