"""From a recipe to that of the file that llama-quantize makes of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors import ftypes, quants
from modelbuild.tensors.formats.gguf import QUANTIZATION_VERSION, decode_value, encode_value
from modelbuild.tensors.ftypes import FLOATS, FTYPES, Mix, Traits
from modelbuild.tensors.multiplied import multiplied
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.quantize import quantize as packed
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.tensors.formats.imatrix import Imatrix

SHOWN = 4
"""Names that an error shows."""


class Importance(NamedTuple):
    """An importance matrix, and its path as the user wrote it, which goes into the metadata."""

    matrix: Imatrix
    path: str


def quantize(
    source: Recipe,
    ftype: str,
    mix: Mix | None = None,
    *,
    requantize: bool = False,
    importance: Importance | None = None,
) -> Recipe:
    """Give every tensor the type that the rules choose, in llama-quantize's order.

    requantize  quantize also what is quantized already, from its values as they are
    Raises Error where a tensor is quantized already, or where the rules need what is not there; it says which
    parameter that is about, or which input.
    Source: llama.cpp src/llama-quant.cpp, llama_model_quantize_impl; tools/quantize/quantize.cpp
    """
    mix = mix or Mix()
    model = model_of(source.metadata)
    shapes = {entry.name: entry.expression.shape for entry in _in_order(source)}
    try:
        chosen = ftypes.choose(ftype, model, shapes, imatrix=importance is not None, mix=mix)
    except ValueError as error:
        raise Error(f"the experts' tensors do not fit the model: {error}") from None
    # A draft of a model's blocks for the prediction of several tokens is quantized as its model is, of which it has a few tensors.
    is_draft = bool(model.further) and all(model.predicts(name) for name in shapes if ftypes.block_of(name) is not None)
    if not is_draft and (pattern := ftypes.unfit(mix, chosen)) is not None:
        raise Error(
            f"no quantized tensor has a name that matches '{pattern}'",
            parameter=["mix", "tensors", pattern],
            facts=[("names", listed(chosen))],
            hint="rules are regular expressions, matched anywhere in the name",
        )
    if importance is not None and not is_draft:
        _check_covers(importance, chosen)
    known = importance.matrix.entries if importance is not None else {}
    chosen |= {name: _unseen(shapes[name][-1]) for name in _without_data(chosen, ftype, model, known)}
    if requantize:
        source = multiplied(source, chosen)
    constants = dict(source.constants)
    entries = []
    for entry in _in_order(source):
        x = entry.expression
        if entry.name in chosen:
            x = _requantized(entry, chosen[entry.name], ftype, requantize)
            if x.operation == "quantize":
                x = _weighted(entry, x, ftype, importance, constants)
        entries.append(Entry(entry.name, ftypes.stripped(entry.shape), x))
    dropped = ("general.quantization_version", "general.file_type", "split.no", "split.count", "split.tensors.count")
    metadata = {key: value for key, value in source.metadata.items() if key not in dropped}
    metadata["general.quantization_version"] = encode_value("u32", QUANTIZATION_VERSION)
    metadata["general.file_type"] = encode_value("u32", FTYPES[ftype])
    # Whatever the source's alignment, the file is laid out in steps of 32 bytes, and must not say otherwise.
    if metadata.get("general.alignment") != encode_value("u32", 32):
        metadata.pop("general.alignment", None)
    if importance is not None:
        for key, value in _provenance(importance).items():
            # llama-quantize sets these last: a key that is there already moves to the end.
            metadata.pop(key, None)
            metadata[key] = value
    return Recipe(metadata, entries, constants)


_UNSEEN = "q4_k"
"""The type of a tensor that no importance matrix has seen, in place of one that needs it."""


def _without_data(chosen: Mapping[str, str], ftype: str, model: Traits, known: Collection[str]) -> Iterator[str]:
    """The tensors of blocks for the prediction of several tokens whose type needs importance, of which there is none.

    llama-imatrix runs the model without these blocks, so llama-quantize cannot make such a file at all (tensor_requires_imatrix).
    """
    for name, quant in chosen.items():
        if _needs_importance(quant, ftype) and name not in known and model.predicts(name):
            yield name


def _needs_importance(quant: str, ftype: str) -> bool:
    """(llama.cpp src/llama-quant.cpp, tensor_requires_imatrix)"""
    return quant == "q2_k" and ftype == "q2_K_S"


def _unseen(row: int) -> str:
    return ftypes.fallback(_UNSEEN, row)


def _in_order(source: Recipe) -> list[Entry]:
    return sorted(source.tensors, key=lambda entry: ftypes.file_order(entry.name))


def _requantized(entry: Entry, quant: str, ftype: str, allowed: bool) -> Expression:
    source = entry.expression
    if source.dtype == quant:
        return source
    if source.dtype in FLOATS:
        return packed(quant, source)
    if source.dtype in quants.names() and allowed:
        return packed(quant, dequantize(source))
    if source.dtype in quants.names():
        raise Error(
            f"cannot make {ftype} of tensor '{entry.name}': it is already {source.dtype}",
            parameter=["ftype"],
            facts=[("expected", "f32, f16 or bf16"), ("got", source.dtype)],
            hint="start from weights that are not quantized, since a second quantization adds its error to the first's; "
            "or set allow_requantize = true",
        )
    raise Error(
        f"cannot make {ftype} of tensor '{entry.name}': it is {source.dtype}, which can only be copied",
        parameter=["ftype"],
        facts=[("expected", "f32, f16 or bf16"), ("got", source.dtype)],
        hint="start from weights that are not quantized",
    )


def _weighted(
    entry: Entry, x: Expression, ftype: str, importance: Importance | None, constants: dict[str, bytes]
) -> Expression:
    """Give a quantization its importance matrix, if there is one for the tensor; the weights go into `constants`."""
    weights = importance.matrix.entries.get(entry.name) if importance else None
    columns = x.shape[-1]
    matrices = prod(x.shape[:-2])
    if weights is not None and len(weights) != 4 * columns * matrices:
        if entry.name not in ("token_embd.weight", "per_layer_token_embd.weight"):
            raise Error(
                f"the importance matrix does not fit '{entry.name}'",
                input="imatrix",
                facts=[("expected", f"{columns * matrices} values"), ("got", f"{len(weights) // 4}")],
                hint="it was made for another model",
            )
        weights = None
    if weights is None:
        if _needs_importance(x.dtype, ftype) and entry.name not in ("token_embd.weight", "output.weight"):
            if importance is not None:
                what = f"has no entry for '{entry.name}', for which type q2_K_S needs one"
                raise _uncovered(what, importance, [entry.name])
            raise Error(
                f"type q2_K_S needs an importance matrix for '{entry.name}'",
                parameter=["ftype"],
                hint='set imatrix = "…", or use q2_K, which needs none',
            )
        return x
    if not quants.takes_weights(x.dtype):
        return x
    digest = xxh3(weights)
    constants[digest] = weights
    return packed(x.dtype, x.operands[0], leaf(digest, "f32", (matrices, columns)))


_NEVER_COVERED = ("token_embd.weight", "per_layer_token_embd.weight", "output.weight")
"""Tensors that llama-imatrix leaves out unless it is told otherwise."""

_SINGLE_EXPERT = re.compile(r"(blk\.\d+\.ffn_(?:gate|up|down))\.\d+\.weight")
"""What the tensors of single experts were called before llama.cpp merged those of a block into one."""


def _check_covers(importance: Importance, names: Collection[str]) -> None:
    if names and not any(name in importance.matrix.entries for name in names):
        raise _uncovered(f"has no entry for any of the {len(names)} tensors that are quantized", importance, names)


def _uncovered(what: str, importance: Importance, names: Collection[str]) -> Error:
    """An error or a warning about tensors that an importance matrix says nothing of, with the cause if it shows."""
    entries = importance.matrix.entries
    facts, hint = (
        [("tensors", listed(names, SHOWN))],
        "it was made for another model, or the name of a tensor changed since",
    )
    merged = {f"{found[1]}_exps.weight" for found in map(_SINGLE_EXPERT.fullmatch, entries) if found}
    if merged.intersection(names):
        facts.append(("it has", f"{listed((n for n in entries if _SINGLE_EXPERT.fullmatch(n)), SHOWN)}"))
        hint = "these are the older names of single experts: make the matrix again with a current llama-imatrix"
    else:
        facts.append(("it has", listed(entries, SHOWN)))
    return Error(what, input="imatrix", facts=facts, hint=hint)


def doubts(
    source: Recipe, made: Recipe, ftype: str, mix: Mix | None = None, importance: Importance | None = None
) -> list[Error]:
    """What differs in silence from what was asked for, in a recipe that `quantize` made: types, and weights without importance."""
    found = []
    shapes = {entry.name: entry.expression.shape for entry in made.tensors}
    model = model_of(source.metadata)
    others = ftypes.fallbacks(ftype, model, shapes, imatrix=importance is not None, mix=mix)
    if others:
        count = sum(ftypes.quantizable(name, shape) for name, shape in shapes.items())
        changes = Counter(f"{wanted} -> {got}" for wanted, got in others.values())
        rows = [f"{name} (rows of {shapes[name][-1]})" for name in others]
        block = max(quants.get(wanted).block for wanted, _ in others.values())
        found.append(
            Error(
                f"{len(others)} of {count} tensors fall back to other types: {block} does not divide their rows",
                parameter=["ftype"],
                facts=[
                    ("types", ", ".join(f"{count} {change}" for change, count in changes.most_common())),
                    ("tensors", listed(rows, SHOWN)),
                ],
                hint="the file gets larger than the type's name says; types with blocks of 32 are q4_0, q4_1, q5_0, q5_1, q8_0 and iq4_nl",
            )
        )
    if importance is not None:
        found += _unimportant(made, ftype, importance)
    if _needs_importance("q2_k", ftype):
        wanted = ftypes.choose(ftype, model, shapes, imatrix=importance is not None, mix=mix)
        found += _replaced(model, wanted, ftype, importance)
    return found


def _replaced(model: Traits, wanted: Mapping[str, str], ftype: str, importance: Importance | None) -> Iterator[Error]:
    """What has another type than the one that is wanted, since nothing is known of its importance."""
    known = importance.matrix.entries if importance is not None else {}
    if found := list(_without_data(wanted, ftype, model, known)):
        yield Error(
            f"{len(found)} tensors of the blocks for the prediction of several tokens are {_UNSEEN}: "
            f"{ftype} needs an importance matrix for them, and none knows them",
            parameter=["ftype"],
            facts=[("tensors", listed(found, SHOWN))],
            hint='give them another type by a mix: [ftype.NAME] tensors = { "blk\\.N\\." = "…" }',
        )


def _unimportant(made: Recipe, ftype: str, importance: Importance) -> Iterator[Error]:
    """What an importance matrix has no effect on, although it might have."""
    packs = [entry for entry in made.tensors if entry.expression.operation == "quantize"]
    weighed = [entry for entry in packs if quants.takes_weights(entry.expression.dtype)]
    if not weighed:
        yield Error(
            f"has no effect: no tensor of ftype {ftype} is quantized by importance",
            input="imatrix",
            hint="remove `imatrix`, or choose a type that uses it, such as q4_K_M",
        )
        return
    names = [each.name for each in weighed if len(each.expression.operands) == 1 and each.name not in _NEVER_COVERED]
    if names:
        yield _uncovered(
            f"has no entry for {len(names)} of the {len(weighed)} tensors that could use one", importance, names
        )


def _provenance(importance: Importance) -> dict[str, bytes]:
    """What llama-quantize says of the importance matrix; texts have at most 127 bytes (llama_model_kv_override)."""

    def text(value: str) -> bytes:
        return encode_value("str", value.encode("utf-8", "surrogateescape")[:127])

    matrix = importance.matrix
    found = {"quantize.imatrix.file": text(importance.path)}
    if matrix.datasets:
        found["quantize.imatrix.dataset"] = text(matrix.datasets[0])
    found["quantize.imatrix.entries_count"] = encode_value("u32", len(matrix.entries))
    if matrix.chunks:
        found["quantize.imatrix.chunks_count"] = encode_value("u32", matrix.chunks)
    return found


def model_of(metadata: Mapping[str, bytes]) -> Traits:
    """What the type rules ask of a model, from its metadata. Raises Error where that lacks a part or is no model's."""

    def value(key: str) -> Any:
        return decode_value(metadata[key]) if key in metadata else None

    name = value("general.architecture")
    kind = value("general.type")
    if not isinstance(name, str) or kind not in (None, "model"):
        what = "a GGUF file without an architecture" if kind in (None, "model") else f"a GGUF file of type '{kind}'"
        raise Error(f"{what} cannot be quantized: only models can", parameter=["ftype"])
    if name in ftypes.UNKNOWN_RULES:
        raise Error(f"quantizing a model of architecture '{name}' is not supported yet", parameter=["ftype"])

    def count(key: str, default: int | None) -> int:
        found = value(f"{name}.{key}")
        if isinstance(found, list):
            found = found[0] if found else None
        if found is None and default is not None:
            return default
        if type(found) is not int or found < 0:
            raise Error(
                f"'{name}.{key}' expects a whole number, got {found!r}"
                if found is not None
                else f"'{name}.{key}' is missing; quantization needs it",
                hint="the file is incomplete: download it again, or convert it again from its weights",
            )
        return found

    heads = count("attention.head_count", 0)
    return Traits(
        name,
        count("block_count", None),
        count("expert_count", 0),
        heads,
        count("attention.head_count_kv", heads),
        count("nextn_predict_layers", 0),
    )
