"""Tensors of a checkpoint as expressions: the values that they stand for, whatever they are stored as.

Source: llama.cpp conversion/base.py, ModelBase.prepare_tensors and dequant_model (dequant_simple)
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from math import prod

from modelbuild.checkpoint.packed import taken
from modelbuild.checkpoint.scaled import OF_ROWS, READ, Method
from modelbuild.errors import Error
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Shape, Tensor
from modelbuild.words import listed

WIDENED = ("f64", "i64", "i32", "i16", "i8", "u8", "bool", "f8_e4m3", "f8_e5m2", "f8_e8m0")
"""The dtypes that become f32 before anything is made of them (LazyTorchTensor._dtype_str_map)."""

FP8 = ("f8_e4m3", "f8_e5m2")


_MARKS = (
    "_scale", "_scale_inv", "_scale_2", ".scales", ".qweight", ".qzeros", ".g_idx", ".qscale_weight", ".qscale_act", "_zero_point",
    ".weight_packed", ".weight_shape", ".absmax", ".quant_map", ".SCB",
)  # fmt: skip
"""Ends of names that only quantized checkpoints hold."""

PACKED = (".weight_scale", ".weight_scale_inv", ".weight_packed", ".qweight", ".absmax", ".SCB", ".quant_map")
"""Those that no other checkpoint has, of whatever kind."""


def values(tensors: Mapping[str, Tensor], method: Method | None, packed: bool) -> dict[str, Expression]:
    """What the tensors of a checkpoint stand for: f32, f16 or bf16, without scales, and the blocks of those that are packed.

    They are in the order of the checkpoint, those that are packed behind all others.

    packed  whether u8 tensors hold packed values that the architecture reads: they stay as they are
    Raises Error for scales that fit no weights, and for dtypes that the converter does not take.
    """
    if method is None and not packed and _are_plain(tensors):
        return {name: leaf(each.digest, each.dtype, each.shape, each.name) for name, each in tensors.items()}
    method = method or Method("")
    scales: dict[str, Tensor] = {}
    blocks, used = taken(tensors, method.packing) if method.packing else ({}, set())
    dropped = used | ({name for name in tensors if name.endswith(method.unused)} if method.unused else set())
    for name, tensor in tensors.items() if method.scales else ():
        end = next((pair for pair in method.scales if name.endswith(pair[0])), None)
        if end is None or name in dropped:
            continue
        weights = name.removesuffix(end[0]) + end[1]
        dropped.add(name)
        if weights in tensors:
            scales[weights] = tensor
        elif not method.orphans:
            raise Error(
                f"tensor '{name}' contains the scales of '{weights}', which is missing",
                hint="the download is incomplete, or the index belongs to another checkpoint",
            )
    found = {}
    for name, tensor in tensors.items():
        if name in dropped:
            continue
        is_marked = name.endswith(_MARKS)
        if not is_marked and not _fits(tensor.shape):
            raise Error(f"tensor '{name}' expects one to four dimensions of at least 1, got {list(tensor.shape)}")
        if name in scales:
            found[name] = _scaled(tensor, scales[name], method)
        elif packed and tensor.dtype == "u8":
            found[name] = leaf(tensor.digest, tensor.dtype, tensor.shape, tensor.name)
        elif is_marked:
            raise Error(
                f"tensor '{name}' is part of quantized weights, but config.json does not say how to read them",
                path="config.json",
                facts=[("quant_method", method.name or "none"), ("read", READ)],
                hint="start from the unquantized weights",
            )
        else:
            found[name] = _widened(tensor, tensor.shape)
    for name in sorted(found.keys() - scales.keys()) if method.scales or method.packing else ():
        tensor = tensors[name]
        if tensor.dtype in FP8 and len(tensor.shape) > 1:
            scale, weight = (method.scales or OF_ROWS)[-1]
            raise Error(
                f"tensor '{name}' lacks its scales: {method.name} stores {tensor.dtype} values without their scale",
                facts=[("expected", name.removesuffix(weight) + scale)],
                hint="the download is incomplete, or the index belongs to another checkpoint",
            )
    return found | blocks


def _fits(shape: Shape) -> bool:
    return 0 < len(shape) < 5 and 0 not in shape


def _are_plain(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all are floats that stand for themselves, as in most checkpoints: there are few dtypes and shapes, whatever their number."""
    dtypes, shapes = {each.dtype for each in tensors.values()}, {each.shape for each in tensors.values()}
    return dtypes <= set(FLOATS) and all(map(_fits, shapes)) and not any(name.endswith(_MARKS) for name in tensors)


def plain(tensor: Tensor) -> Expression:
    """What a tensor without scales stands for, of any shape but an empty one: f32, f16 or bf16. Raises Error."""
    if len(tensor.shape) > 5 or 0 in tensor.shape:
        raise Error(f"tensor '{tensor.name}' expects at most five dimensions of at least 1, got {list(tensor.shape)}")
    if tensor.name.endswith(PACKED):
        raise Error(
            f"tensor '{tensor.name}' is part of quantized weights, which are not read here",
            hint="start from the unquantized weights",
        )
    return _widened(tensor, tensor.shape)


VALUES_LIMIT = 1 << 16
"""Values of a small tensor that is read for what it says."""


def floats(tensor: Tensor, read: Callable[[Expression], bytes]) -> tuple[float, ...]:
    """The values of a small tensor, as f32. Raises Error for a large or an empty one, and for what is not finite.

    read  gives the bytes of an expression
    """
    count = prod(tensor.shape)
    if not 0 < count <= VALUES_LIMIT:
        raise Error(f"tensor '{tensor.name}' expects 1 to {VALUES_LIMIT:,} values, got {list(tensor.shape)}")
    found = struct.unpack(f"<{count}f", read(cast("f32", _widened(tensor, (count,)))))
    if not all(map(math.isfinite, found)):
        raise Error(
            f"tensor '{tensor.name}' contains a value that is not finite (NaN or infinity)",
            hint="the weights are damaged, or training was not finished; download them again",
        )
    return found


def _widened(tensor: Tensor, shape: tuple[int, ...]) -> Expression:
    """A tensor's values, its bytes taken for one of another shape of as many."""
    x = leaf(tensor.digest, tensor.dtype, shape, tensor.name)
    if tensor.dtype in FLOATS:
        return x
    if tensor.dtype not in WIDENED:
        raise Error(
            f"tensor '{tensor.name}' contains {tensor.dtype} values, which are not supported",
            facts=[("read", listed((*FLOATS, *WIDENED), 20))],
            hint="start from weights in bf16, f16 or f32",
        )
    return cast("f32", x)


def _scaled(weights: Tensor, scales: Tensor, method: Method) -> Expression:
    """Weights times their scales, whose dimensions are one for each block, or are set against the weights' from the left."""
    x, shape, block = _widened(weights, weights.shape), scales.shape, method.block
    if block is None:
        shape = (*shape, *(1,) * (len(x.shape) - len(shape)))
        fits = len(shape) == len(x.shape) and all(n in (1, of) for n, of in zip(shape, x.shape, strict=True))
        high, wide = (1, 1, *x.shape)[-2:]
        rows, columns = (1, 1, *shape)[-2:]
        block = (1 if rows == high else max(high, 1), 1 if columns == wide else max(wide, 1))
    else:
        fits = len(shape) == len(x.shape) > 1
        # A block is no larger than the matrix, whatever config.json says.
        high, wide = (1, 1, *x.shape)[-2:]
        block = (max(1, min(block[0], high)), max(1, min(block[1], wide)))
    matrices = prod(x.shape[:-2])
    try:
        if not fits:
            raise ValueError
        if prod(shape) == 1 < matrices:
            # One scale for all matrices.
            one = _widened(scales, (1, 1))
            return scale(x, stack([one] * matrices) if len(x.shape) == 3 else one, block)
        return scale(x, _widened(scales, shape), block)
    except ValueError:
        facts = [("weights", _shape(weights)), ("scales", _shape(scales))]
        if method.block:
            facts.append(("block", f"{method.block[0]} rows by {method.block[1]} columns"))
        raise Error(
            f"tensor '{scales.name}' does not fit the weights that it scales",
            facts=facts,
            hint="config.json belongs to another checkpoint, or the checkpoint is damaged",
        ) from None


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
