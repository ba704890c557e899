"""One, added to every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def add_one(x: Expression) -> Expression:
    """In the dtype of the tensor (f16, f32); bf16 is widened to f32 first. Raises ValueError for other dtypes.

    Source: llama.cpp conversion, GemmaModel.modify_tensors (norms are stored less one).
    """
    if x.dtype == "bf16":
        x = cast("f32", x)
    if x.dtype not in ("f32", "f16"):
        raise ValueError(f"cannot add one to {x.dtype} values")
    return Expression("add_one", (), x.dtype, x.shape, (x,))


def unit(x: Expression) -> int:
    return x.operands[0].unit


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    dtype = np.dtype("<f2" if x.dtype == "f16" else "<f4")
    # One rounding, to the nearest: numpy adds halves as floats and rounds the sum, as torch does.
    np.add(np.frombuffer(source, dtype), dtype.type(1), out=np.frombuffer(out, dtype))
    reader.give_back(source)
    return out
