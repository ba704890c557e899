"""The tensors of an adapter's file as expressions."""

from __future__ import annotations

from modelbuild.errors import Error
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import listed, shown


def floats(tensor: Tensor) -> Expression:
    """A tensor's values: f32, f16 or bf16. Raises Error for others, and for one without values."""
    if not 0 < len(tensor.shape) < 4 or 0 in tensor.shape:
        raise Error(
            f"tensor '{shown(tensor.name)}' expects one to three dimensions of 1 or more, got {list(tensor.shape)}"
        )
    x = leaf(tensor.digest, tensor.dtype, tensor.shape, tensor.name)
    if tensor.dtype == "f64":
        return cast("f32", x)
    if tensor.dtype not in FLOATS:
        raise Error(
            f"tensor '{shown(tensor.name)}' contains {tensor.dtype} values, which are not supported yet",
            facts=[("read", listed((*FLOATS, "f64")))],
            hint="save the adapter in f32, f16 or bf16",
        )
    return x
