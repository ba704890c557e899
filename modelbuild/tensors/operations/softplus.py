"""The softplus of every value: log(1 + exp(x)), and x itself above 20."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1

LINEAR = 20.0
"""Above this torch takes the value for its softplus."""


def softplus(x: Expression) -> Expression:
    """In the dtype of the tensor (f16, f32), of any shape; bf16 is widened to f32 first. Raises ValueError for other dtypes.

    exp and log1p are each computed in f64 and rounded to f32. torch computes them in f32, so that the last bit of its results
    depends on the processor.
    Source: torch.nn.functional.softplus; llama.cpp conversion, Gemma4VisionAudioModel.modify_tensors.
    """
    if x.dtype == "bf16":
        x = cast("f32", x)
    if x.dtype not in ("f32", "f16"):
        raise ValueError(f"no softplus of {x.dtype} values")
    return Expression("softplus", (), x.dtype, x.shape, (x,))


def unit(x: Expression) -> int:
    return x.operands[0].unit


def footprint(x: Expression, first: int, count: int) -> int:
    # Three arrays of f64, and which values are large.
    return 25 * count + x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    dtype = np.dtype("<f2" if x.dtype == "f16" else "<f4")
    values = np.frombuffer(source, dtype).astype(np.float64)
    exp = np.exp(np.minimum(values, LINEAR)).astype(np.float32)
    made = np.log1p(exp.astype(np.float64))
    np.frombuffer(out, dtype)[:] = np.where(values > LINEAR, values, made).astype(np.float32)
    reader.give_back(source)
    return out
