"""Checkpoints whose weights are stored with scales (fp8, int8): which methods are read, and the values that they stand for.

Source: llama.cpp conversion/base.py, ModelBase.prepare_tensors and dequant_model (dequant_simple).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from modelbuild.checkpoint import card
from modelbuild.checkpoint.checkpoint import Checkpoint, kind
from modelbuild.errors import Error
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import listed, shown

WIDENED = ("f64", "i64", "i32", "i16", "i8", "u8", "bool", "f8_e4m3", "f8_e5m2", "f8_e8m0")
"""The dtypes that become f32 before anything is made of them (LazyTorchTensor._dtype_str_map)."""

FP8 = ("f8_e4m3", "f8_e5m2")

FILE = "hf_quant_config.json"
READ = "fp8; compressed-tensors of format float-quantized, int-quantized or naive-quantized; modelopt FP8"

_MARKS = (
    "_scale", "_scale_inv", "_scale_2", ".scales", ".qweight", ".qzeros", ".g_idx", ".qscale_weight", ".qscale_act", "_zero_point",
    ".weight_packed", ".weight_shape", ".absmax", ".quant_map", ".SCB",
)  # fmt: skip
"""Ends of names that only quantized checkpoints hold."""


class Form(NamedTuple):
    """How a method stores its scales.

    method    as config.json calls it
    scales    (end of the scales' name, end of their weights' name in its place)
    unused    ends of the names of tensors that no weight needs: scales of activations
    block     rows and columns that share a scale; None where the scales' shape tells
    orphans   whether scales without weights are passed over
    """

    method: str
    scales: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    block: tuple[int, int] | None = None
    orphans: bool = False


def form_of(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Form | None:
    """How a checkpoint's weights are stored; None where they are plain numbers.

    A method that only an architecture can read has no scales here. Raises Error for one that nobody reads.
    """
    found = config.get("quantization_config") or {}
    if not isinstance(found, dict):
        raise Error(f"'quantization_config' expects an object, got {kind(found)}", path="config.json")
    method, algorithm = found.get("quant_method"), found.get("quant_algo")
    layers, path = found.get("quantized_layers"), "config.json"
    beside = checkpoint.json(FILE) if not (algorithm and layers) else None
    if beside is not None:
        told = beside.get("quantization") or {}
        producer = beside.get("producer") or {}
        if not isinstance(told, dict) or not isinstance(producer, dict):
            raise Error("'quantization' and 'producer' expect objects", path=FILE)
        if method is None:
            method, path = str(producer.get("name") or "").lower(), FILE
        algorithm, layers = told.get("quant_algo", algorithm), told.get("quantized_layers", layers)
    entries = layers.values() if isinstance(layers, dict) else []
    for name in (algorithm, *(entry.get("quant_algo") for entry in entries if isinstance(entry, dict))):
        if str(name).endswith("NVFP4"):
            raise _unread(checkpoint, "NVFP4", path)
    if method is None:
        return None
    if method == "fp8":
        ends = ((".qscale_weight", ".weight"), ("_scale_inv", ""))
        unused = (".activation_scale", "_activation_scale", ".qscale_act")
        return Form(method, ends, unused, _block(found.get("weight_block_size"), "weight_block_size"))
    if method == "modelopt":
        return Form(method, ((".weight_scale", ".weight"),), (".input_scale", ".k_scale", ".v_scale"), orphans=True)
    if method == "compressed-tensors":
        return Form(method, ((".weight_scale", ".weight"),), block=_compressed(checkpoint, found))
    if method == "mxfp4":
        return Form(method)
    raise _unread(checkpoint, str(method), path)


def _compressed(checkpoint: Checkpoint, config: Mapping[str, Any]) -> tuple[int, int] | None:
    groups, form = config.get("config_groups"), config.get("format")
    if form not in ("float-quantized", "int-quantized", "naive-quantized"):
        raise _unread(checkpoint, f"compressed-tensors of format {_word(form)}", "config.json")
    group = next(iter(groups.values())) if isinstance(groups, dict) and len(groups) == 1 else None
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        raise Error("'config_groups' expects one group, with its 'weights'", path="config.json")
    if weights.get("strategy") not in ("channel", "block") or weights.get("group_size") is not None:
        grouped = " and a group_size" if weights.get("group_size") is not None else ""
        what = f"compressed-tensors of strategy {_word(weights.get('strategy'))}{grouped}"
        raise _unread(checkpoint, what, "config.json")
    return _block(weights.get("block_structure"), "block_structure")


def _block(value: Any, key: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(type(n) is int and 0 < n < 1 << 31 for n in value)):
        raise Error(f"'{key}' expects two whole numbers, rows and columns, got {kind(value)}", path="config.json")
    return value[0], value[1]


def _word(value: Any) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else kind(value)


def _unread(checkpoint: Checkpoint, method: str, path: str) -> Error:
    try:
        base = card.read_card(checkpoint).get("base_model")
    except Error:
        base = None
    base = base[0] if isinstance(base, list) and len(base) == 1 else base
    named = f": {base}, says README.md" if isinstance(base, str) and base.isprintable() and len(base) < 200 else ""
    return Error(
        f"the checkpoint is quantized already ({shown(method) or 'without a method'}), which is not read",
        path=path,
        facts=[("read", READ)],
        hint=f"start from the weights that it was quantized from{named}",
    )


def values(tensors: Mapping[str, Tensor], form: Form | None, packed: bool) -> dict[str, Expression]:
    """What the tensors of a checkpoint stand for, in their order: f32, f16 or bf16, without scales.

    packed  whether u8 tensors hold packed values that the architecture reads: they stay as they are
    Raises Error for scales that fit no weights, and for dtypes that the converter does not take.
    """
    form = form or Form("")
    scales: dict[str, Tensor] = {}
    dropped = {name for name in tensors if name.endswith(form.unused)} if form.unused else set()
    for name, tensor in tensors.items():
        end = next((pair for pair in form.scales if name.endswith(pair[0])), None)
        if end is None or name in dropped:
            continue
        weights = name.removesuffix(end[0]) + end[1]
        dropped.add(name)
        if weights in tensors:
            scales[weights] = tensor
        elif not form.orphans:
            raise Error(
                f"tensor '{name}' holds the scales of '{weights}', which is missing",
                hint="the download is not finished, or the index is another checkpoint's",
            )
    found = {}
    for name, tensor in tensors.items():
        if name in dropped:
            continue
        if not name.endswith(_MARKS) and (not 0 < len(tensor.shape) < 5 or 0 in tensor.shape):
            raise Error(f"tensor '{name}' expects one to four dimensions of 1 or more, got {list(tensor.shape)}")
        if name in scales:
            found[name] = _scaled(tensor, scales[name], form)
        elif packed and tensor.dtype == "u8":
            found[name] = leaf(tensor.digest, tensor.dtype, tensor.shape)
        elif name.endswith(_MARKS):
            raise Error(
                f"tensor '{name}' is a part of quantized weights that config.json does not tell how to read",
                path="config.json",
                facts=[("quant_method", form.method or "none"), ("read", READ)],
                hint="start from the weights that it was quantized from",
            )
        else:
            found[name] = _widened(tensor, tensor.shape)
    for name in sorted(found.keys() - scales.keys()) if form.scales else ():
        tensor = tensors[name]
        if tensor.dtype in FP8 and len(tensor.shape) > 1:
            scale, weight = form.scales[-1]
            raise Error(
                f"tensor '{name}' lacks its scales: {form.method} stores {tensor.dtype} values less their scale",
                facts=[("expected", name.removesuffix(weight) + scale)],
                hint="the download is not finished, or the index is another checkpoint's",
            )
    return found


def _widened(tensor: Tensor, shape: tuple[int, ...]) -> Expression:
    """A tensor's values, its bytes taken for one of another shape of as many."""
    x = leaf(tensor.digest, tensor.dtype, shape)
    if tensor.dtype in FLOATS:
        return x
    if tensor.dtype not in WIDENED:
        raise Error(
            f"tensor '{tensor.name}' holds {tensor.dtype} values, which are not read",
            facts=[("read", listed((*FLOATS, *WIDENED), 20))],
            hint="start from weights in bf16, f16 or f32",
        )
    return cast("f32", x)


def _scaled(weights: Tensor, scales: Tensor, form: Form) -> Expression:
    """Weights times their scales, whose dimensions are one for each block, or are set against the weights' from the left."""
    x, shape, block = _widened(weights, weights.shape), scales.shape, form.block
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
        if form.block:
            facts.append(("block", f"{form.block[0]} rows by {form.block[1]} columns"))
        raise Error(
            f"tensor '{scales.name}' does not fit the weights that it scales",
            facts=facts,
            hint="config.json is not this checkpoint's, or the checkpoint is damaged",
        ) from None


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
