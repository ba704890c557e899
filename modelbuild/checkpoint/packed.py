"""Weights that a checkpoint packs in fewer than eight bits: what they stand for.

NVFP4 and MXFP4 go into ggml's blocks as they are; whole numbers become floats.
Source: llama.cpp conversion/base.py, ModelBase._nvfp4_pack, dequant_model (dequant_packed) and repack_mxfp4_blocks
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from modelbuild.checkpoint.scaled import Packing
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.mxfp4 import mxfp4
from modelbuild.tensors.operations.nvfp4 import nvfp4
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.unpack import unpack
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor

_ENDS = ("_scale", "_shape", "_zero_point")
"""What stands beside packed weights, behind their name without `_packed`."""

Tensors = Mapping[str, Tensor]


def taken(tensors: Tensors, packing: Packing) -> tuple[dict[str, Expression], set[str]]:
    """The packed weights by the names that plain ones would have, and the names of all tensors that they are made of.

    Raises Error for weights without scales, and for shapes that do not fit.
    """
    make = {"nvfp4": _nvfp4, "mxfp4": _mxfp4, "ints": _ints}[packing.kind]
    found: dict[str, Expression] = {}
    used = set()
    for name, tensor in tensors.items():
        if not name.endswith(packing.weights) or not _is_packed(tensors, name, packing):
            continue
        plain = name.removesuffix("_packed")
        beside = {end: tensors[plain + end] for end in _ENDS if plain + end in tensors}
        if "_scale" not in beside:
            raise Error(f"tensor '{name}' lacks its scales", facts=[("expected", f"{plain}_scale")], hint=_INCOMPLETE)
        if plain in tensors and plain != name:
            raise Error(f"two tensors of the checkpoint are both '{plain}'")
        try:
            found[plain] = make(tensor, beside, packing)
        except ValueError:
            raise _unfit(tensor, beside, packing) from None
        used |= {name, *(plain + end for end in beside)}
        used |= {plain.removesuffix(".weight") + end for end in packing.second if end}
    return found, used


_INCOMPLETE = "the download is incomplete, or the index belongs to another checkpoint"


def _is_packed(tensors: Tensors, name: str, packing: Packing) -> bool:
    """Whether weights are packed; modelopt names them as it names others, whose scales have no rows of their own."""
    beside = tensors.get(f"{name}_scale")
    if packing.weights != ".weight":
        return True
    return beside is not None and len(beside.shape) > 1 and tensors[name].dtype == "u8"


def _unfit(tensor: Tensor, beside: Mapping[str, Tensor], packing: Packing) -> Error:
    facts = [("weights", _shape(tensor)), *((f"weight{end}", _shape(each)) for end, each in beside.items())]
    rows = {"nvfp4": "rows of 64 values", "mxfp4": "rows of 32 values", "ints": f"groups of {packing.group} columns"}
    return Error(
        f"tensor '{tensor.name}' and its scales do not fit each other as {packing.kind} in {rows[packing.kind]}",
        facts=facts,
        hint="config.json belongs to another checkpoint, or the checkpoint is damaged; else start from the unquantized weights",
    )


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _leaf(tensor: Tensor, shape: tuple[int, ...] | None = None) -> Expression:
    return leaf(tensor.digest, tensor.dtype, tensor.shape if shape is None else shape, tensor.name)


def _nvfp4(tensor: Tensor, beside: Mapping[str, Tensor], packing: Packing) -> Expression:
    _positive(tensor, *beside.values())
    return nvfp4(_leaf(tensor), _leaf(beside["_scale"]))


def _mxfp4(tensor: Tensor, beside: Mapping[str, Tensor], packing: Packing) -> Expression:
    scales = beside["_scale"]
    _positive(tensor, scales)
    if len(tensor.shape) != 2 or tensor.shape[1] % 16 or scales.dtype not in ("u8", "f8_e8m0"):
        raise ValueError
    exponents = leaf(scales.digest, "u8", scales.shape, scales.name)
    return mxfp4(_leaf(tensor, (tensor.shape[0], tensor.shape[1] // 16, 16)), exponents)


def _ints(tensor: Tensor, beside: Mapping[str, Tensor], packing: Packing) -> Expression:
    scales, shape, zeros = beside["_scale"], beside.get("_shape"), beside.get("_zero_point")
    _positive(tensor, scales, *([zeros] if zeros else []))
    if len(tensor.shape) != 2 or len(scales.shape) != 2 or scales.shape[0] != tensor.shape[0]:
        raise ValueError
    if scales.dtype not in FLOATS or (zeros and zeros.shape[1:] != scales.shape[1:]):
        raise ValueError
    rows, columns = tensor.shape[0], scales.shape[1] * packing.group
    if shape is None:
        raise Error(f"tensor '{tensor.name}' lacks its shape, '…weight_shape'", hint=_INCOMPLETE)
    # What the shape says is known by its digest, once that is known.
    said = {xxh3(struct.pack(form, rows, columns)) for form in ("<2q", "<2i")}
    if shape.shape != (2,) or (shape.digest and shape.digest not in said):
        raise ValueError
    numbers = unpack(_leaf(tensor), packing.bits, columns, _leaf(zeros) if zeros else None)
    return scale(numbers, _leaf(scales), (1, packing.group))


def _positive(*tensors: Tensor) -> None:
    if any(0 in tensor.shape for tensor in tensors):
        raise ValueError
