"""Packed weights in the file that is made: which tensors come first, and the scales and the metadata beside them.

Source: llama.cpp conversion/base.py, ModelBase._generate_nvfp4_tensors and _tag_prec_a4
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
from modelbuild.checkpoint.tables import SHOWN
from modelbuild.checkpoint.tensor_names import is_wanted
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.ftypes import FLOATS, block_of
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.nvfp4 import nvfp4
from modelbuild.tensors.operations.reciprocal import reciprocal
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.take import Run, runs_of, take
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import listed, shown

Tensors = Mapping[str, Tensor]
Named = tuple[str, Expression]

FILE_TYPES = {"nvfp4": 39, "mxfp4": 38}
"""`general.file_type` of a file whose other tensors are floats (llama.h, enum llama_ftype)."""

BLOCKS = tuple(FILE_TYPES)
"""The dtypes of expressions that are packed already."""

ONE = struct.pack("<f", 1)
"""The scale of an expert that has none, beside others that have one."""

_MOVES = ("permute", "stack", "slice", "take", "reshape")
"""Operations that leave whole rows as they are."""


def moved(sources: Mapping[str, Expression], made: Iterable[Named]) -> list[Named]:
    """What an architecture makes of its sources. Raises Error where it does with packed weights what only floats allow."""
    try:
        return list(made)
    except ValueError as error:
        packed = [name for name, x in sources.items() if x.dtype in BLOCKS]
        if not packed:
            raise
        raise Error(
            f"the checkpoint contains packed weights that this architecture cannot take: {error}",
            facts=[("packed", listed(packed, SHOWN))],
            hint="start from the unquantized weights",
        ) from None


def arranged(named: Iterable[Named], tensors: Tensors, method: Method | None) -> list[Named]:
    """The tensors of the file: those in NVFP4 first, each with its scales behind it.

    tensors  of the checkpoint, by the names that the architecture sees
    Raises Error for NVFP4 that has been changed by more than whole rows, and for scales that are not one for each matrix.
    """
    found = [(name, _in_columns(x)) for name, x in named]
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


def _in_columns(x: Expression) -> Expression:
    """Columns of NVFP4 in another order, where those of a scale stay together: done before the weights are packed."""
    if x.operation != "take" or x.parameters[0] != 1 or x.operands[0].operation != "nvfp4":
        return x
    runs = runs_of(x)
    if any(number % 16 for run in runs for number in (run.start, run.length, run.inner_step, run.outer_step)):
        return x

    def part(run: Run, by: int) -> Run:
        divided = {key: getattr(run, key) // by for key in ("start", "length", "inner_step", "outer_step")}
        return run._replace(**divided)

    blocks, scales = x.operands[0].operands
    return nvfp4(take(blocks, 1, *(part(run, 2) for run in runs)), take(scales, 1, *(part(run, 16) for run in runs)))


def _check_moved(name: str, x: Expression) -> None:
    """Raise Error where something else than rows of packed weights is changed."""
    packed = _packed(x)
    while packed is not None and x.operation not in BLOCKS:
        columns = x.operation in ("slice", "take") and x.parameters[0] == len(x.shape) - 1
        if x.operation not in _MOVES or x.dtype not in BLOCKS or columns:
            raise Error(
                f"tensor '{_label(packed)}' is {packed.dtype}, of which '{name}' cannot be made ({x.operation})",
                hint="start from the unquantized weights",
            )
        x = x.operands[0]


def _packed(x: Expression) -> Expression | None:
    """The first of the packed weights that a tensor is made of."""
    if x.operation in BLOCKS:
        return x
    return next(filter(None, (_packed(operand) for operand in x.operands if operand.operands)), None)


def _scales(name: str, x: Expression, sources: Sequence[str], tensors: Tensors, packing: Packing) -> Iterator[Named]:
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
            f"tensor '{tensor.name}' expects one scale for the whole tensor, got {tensor.dtype} {list(tensor.shape)}",
            hint="the checkpoint is damaged, or written by another method: start from the unquantized weights",
        )
    value = cast("f32", leaf(tensor.digest, tensor.dtype, (), tensor.name))
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


_SCALED = re.compile(
    r"output|blk\.\d+\.(attn_(q|k|v|output|qkv|gate)|ffn_(gate|down|up)(_exps|_shexp)?"
    r"|ssm_(in|out|alpha|beta)|nextn\.(eh_proj|shared_head_head))"
)
"""The tensors whose scales the runtime loads (llama.cpp src/llama-model.cpp, load_tensors)."""

_DENSE = ("llama", "mistral3", "qwen3", "qwen35", "gemma4", "cohere2", "cohere2moe", "nemotron_h")
_EXPERTS = (
    "llama",
    "mistral3",
    "qwen3moe",
    "qwen35moe",
    "qwen3next",
    "gemma4",
    "cohere2moe",
    "nemotron_h",
    "nemotron_h_moe",
)
"""Architectures whose runtime multiplies by the scales of their feed forward, and of their experts (llama.cpp src/models)."""


def faults(named: Sequence[Named]) -> Iterator[Error]:
    """NVFP4 that llama.cpp's runtime would not load, or at which it would end itself."""
    scales = _scaled(named)
    unread = [stem for stem in scales if not _SCALED.fullmatch(stem)]
    if unread:
        yield Error(
            f"{_count(unread)} in NVFP4 with scales that llama.cpp's runtime does not load",
            facts=[("tensors", listed(unread, SHOWN))],
            hint="start from the unquantized weights",
        )
    names = {name for name, _ in named}
    biased = [stem for stem in scales if ".ffn_" in stem and f"{stem}.bias" in names]
    if biased:
        yield Error(
            f"{_count(biased)} in NVFP4 with scales and biases, at which llama.cpp's runtime ends itself",
            facts=[("tensors", listed(biased, SHOWN))],
            hint="start from the unquantized weights",
        )


def doubts(named: Sequence[Named], architecture: str) -> Iterator[Error]:
    """NVFP4 whose scales the runtime loads and does not apply, or loads only with the blocks for further tokens."""
    ahead = {block_of(name) for name, _ in named if ".nextn." in name}
    further = [stem for stem in _scaled(named) if block_of(f"{stem}.") in ahead]
    if further and any(block_of(name) not in ahead for name, _ in named if name.startswith("blk.")):
        yield Error(
            f"{_count(further)} in NVFP4 with scales in the blocks for further tokens: "
            "llama.cpp's runtime refuses the file unless it predicts with them",
            facts=[("tensors", listed(further, SHOWN))],
            hint='set mtp = "split" or "drop"',
        )
    left = [
        stem
        for stem in _scaled(named)
        if ".ffn_" in stem and architecture not in (_EXPERTS if "_exps" in stem else _DENSE)
    ]
    if left:
        yield Error(
            f"{_count(left)} in NVFP4 with scales that llama.cpp's runtime does not apply in a model of {architecture}: "
            "as they are, the model outputs garbage",
            facts=[("tensors", listed(left, SHOWN))],
            hint="quantize it to another type, such as q8_0, with allow_requantize = true: the scales are then multiplied in",
        )


def _scaled(named: Iterable[Named]) -> list[str]:
    """The names, without their ends, of what is NVFP4 and has a scale in the file."""
    dtypes = {name: x.dtype for name, x in named}
    stems = (name.removesuffix(".scale") for name in dtypes if name.endswith(".scale"))
    return [stem for stem in stems if dtypes.get(f"{stem}.weight") == "nvfp4"]


def _count(stems: Sequence[str]) -> str:
    return "the checkpoint contains 1 tensor" if len(stems) == 1 else f"the checkpoint contains {len(stems)} tensors"


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
