"""Weights that a checkpoint packs in fewer than eight bits: what they stand for, and what a file says beside them.

NVFP4 and MXFP4 go into ggml's blocks as they are; whole numbers become floats.
Source: llama.cpp conversion/base.py, ModelBase._generate_nvfp4_tensors, dequant_model (dequant_packed) and repack_mxfp4_blocks
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from math import prod

from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.scaled import Method, Packing
from modelbuild.checkpoint.tensor_names import is_wanted
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.mxfp4 import mxfp4
from modelbuild.tensors.operations.nvfp4 import nvfp4
from modelbuild.tensors.operations.reciprocal import reciprocal
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.unpack import unpack
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import shown

FILE_TYPES = {"nvfp4": 39, "mxfp4": 38}
"""`general.file_type` of a file whose other tensors are floats (llama.h, enum llama_ftype)."""

BLOCKS = tuple(FILE_TYPES)
"""The dtypes of expressions that are packed already."""

ONE = struct.pack("<f", 1)
"""The scale of an expert that has none, beside others that have one."""

_ENDS = ("_scale", "_shape", "_zero_point")
"""What stands beside packed weights, behind their name without `_packed`."""

_MOVES = ("permute", "stack", "slice", "reshape")
"""Operations that leave whole rows as they are."""

Tensors = Mapping[str, Tensor]
Named = tuple[str, Expression]


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
            raise Error(
                f"tensor '{name}' lacks its scales", facts=[("expected", f"{plain}_scale")], hint=_INCOMPLETE
            )
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


# NVFP4 in the file


def arranged(named: Iterable[Named], tensors: Tensors, method: Method | None) -> list[Named]:
    """The tensors of the file: those in NVFP4 first, each with its scales behind it.

    tensors  of the checkpoint, by the names that the architecture sees
    Raises Error for NVFP4 that has been changed by more than whole rows, and for scales that are not one for each matrix.
    """
    found = list(named)
    packing = method.packing if method else None
    for name, x in found:
        _check_moved(name, x)
    if packing is None or packing.kind != "nvfp4":
        return found
    places = {tensor.name: (place, name) for place, (name, tensor) in enumerate(tensors.items())}
    first: list[tuple[int, list[Named]]] = []
    rest = []
    for name, x in found:
        if x.dtype != "nvfp4":
            rest.append((name, x))
            continue
        sources = [places[_label(node)] for node in _nodes(x)]
        scales = _scales(name, x, [source for _, source in sources], tensors, packing)
        first.append((max(place for place, _ in sources), [(name, x), *scales]))
    # The converter writes experts where the last of them stands.
    first.sort(key=lambda pair: pair[0])
    return [*(each for _, some in first for each in some), *rest]


def constants(named: Iterable[Named]) -> dict[str, bytes]:
    """What the scales need that no tensor of the checkpoint holds."""
    digest = xxh3(ONE)
    needs = any(each.digest == digest for name, x in named if _is_scale(name) for each in x.leaves())
    return {digest: ONE} if needs else {}


def _is_scale(name: str) -> bool:
    return name.endswith((".scale", ".input_scale"))


def _nodes(x: Expression) -> Iterator[Expression]:
    """The NVFP4 tensors of the checkpoint that a tensor of the file is made of, in its order."""
    if x.operation == "nvfp4":
        yield x
    else:
        for operand in x.operands:
            yield from _nodes(operand)


def _label(node: Expression) -> str:
    return next(node.leaves()).label


def _check_moved(name: str, x: Expression) -> None:
    """Raise Error where something else than rows of packed weights is changed."""
    packed = next((part for part in _parts(x) if part.operation in BLOCKS), None)
    while packed is not None and x.operation not in BLOCKS:
        if x.operation not in _MOVES or x.dtype not in BLOCKS:
            raise Error(
                f"tensor '{_label(packed)}' is {packed.dtype}, of which '{name}' cannot be made ({x.operation})",
                hint="start from the unquantized weights",
            )
        x = x.operands[0]


def _parts(x: Expression) -> Iterator[Expression]:
    yield x
    for operand in x.operands:
        yield from _parts(operand)


def _scales(
    name: str, x: Expression, sources: Sequence[str], tensors: Tensors, packing: Packing
) -> Iterator[Named]:
    """The tensors `.scale` and `.input_scale` of one tensor: f32, a value for each matrix; none where all are one."""
    experts = len(x.shape) == 3
    for end, suffix in zip(packing.second, (".scale", ".input_scale"), strict=True):
        found = [tensors.get(source.rpartition(".weight")[0] + end) for source in sources]
        trivial = _ones(packing.inverted, experts)
        if all(each is None or each.digest in trivial for each in found):
            continue
        values = [_factor(each, packing) for each in found]
        yield name.removesuffix(".weight") + suffix, stack(values) if experts else reshape(values[0], (1,))


def _factor(tensor: Tensor | None, packing: Packing) -> Expression:
    if tensor is None:
        return leaf(xxh3(ONE), "f32", ())
    if prod(tensor.shape) != 1 or tensor.dtype not in FLOATS:
        raise Error(
            f"tensor '{tensor.name}' expects one scale for the whole tensor, got {_shape(tensor)}",
            hint="the checkpoint is damaged, or written by another method: start from the unquantized weights",
        )
    value = cast("f32", _leaf(tensor, ()))
    return reciprocal(value) if packing.inverted else value


@cache
def _ones(inverted: bool, experts: bool) -> frozenset[str]:
    """Digests of the scales that are left out, since they are about one (_scale_is_trivial, _write_scales_tensor)."""

    def near(value: float) -> bool:
        return abs(value - 1) <= 1e-6 + 1e-5 if experts else abs(value - 1) < 1e-6

    def value(bits: int) -> float:
        (found,) = struct.unpack("<f", struct.pack("<I", bits))
        return float(struct.unpack("<f", struct.pack("<f", 1 / found))[0] if inverted else found)

    (one,) = struct.unpack("<I", ONE)
    near_one = [bits for bits in range(one - 400, one + 400) if near(value(bits))]
    halves = [struct.pack("<H", 0x3C00), struct.pack("<H", one >> 16)]
    return frozenset(xxh3(data) for data in (*(struct.pack("<I", bits) for bits in near_one), *halves))


def activations(named: Iterable[Named], tensors: Tensors, method: Method | None) -> Values:
    """Metadata: the tensors whose activations must not be rounded to four bits (ModelBase._tag_prec_a4)."""
    if method is None or method.packing is None or method.packing.kind != "nvfp4":
        return {}
    short = {tensor.name: name for name, tensor in tensors.items()}
    layers = {layer.replace("language_model.", ""): algorithm for layer, algorithm in method.layers if is_wanted(layer)}
    _check_layers(layers, tensors)
    found = []
    for name, x in named:
        if x.dtype == "nvfp4":
            module = short[_label(next(_nodes(x)))].rpartition(".weight")[0]
            if len(x.shape) == 3:
                module = re.sub(r"\.experts\.\d+\.", ".experts.", module)
            if _algorithm(module, layers, method.algorithm) == "W4A16_NVFP4":
                found.append(name)
    if not found:
        return {}
    return {
        "general.tensor_extra.name": encode_value("[str]", sorted(found)),
        "general.tensor_extra.prec_a4": encode_value("[bool]", [False] * len(found)),
    }


def _algorithm(module: str, layers: Mapping[str, str | None], default: str | None) -> str | None:
    """The `quant_algo` of a module: its own, or that of the nearest one around it."""
    while module:
        if module in layers:
            return layers[module]
        module = module.rpartition(".")[0]
    return default


def _check_layers(layers: Iterable[str], tensors: Tensors) -> None:
    names = sorted(tensors)
    for layer in layers:
        at = bisect_left(names, f"{layer}.")
        if at == len(names) or not names[at].startswith(f"{layer}."):
            raise Error(
                f"'quantized_layers' names '{shown(layer)}', of which the checkpoint has no tensor",
                path="config.json",
                hint="the file belongs to another checkpoint, or the download is incomplete",
            )
