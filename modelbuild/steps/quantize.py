"""Turn a recipe into the recipe of the file that llama-quantize makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from modelbuild import ftypes, quants, recipe
from modelbuild.errors import Error
from modelbuild.formats.gguf import QUANTIZATION_VERSION, decode_value, encode_value
from modelbuild.ftypes import FLOATS, FTYPES, Model
from modelbuild.recipe import Entry, Expression, Recipe

VERSION = 1


class Inputs(Protocol):
    """What this step needs of its inputs: another step's recipe, in the role `recipe`."""

    def artifact(self, role: str, /) -> bytes: ...


def run(parameters: Mapping[str, Any], inputs: Inputs) -> bytes:
    """Make the recipe. Parameters: `ftype`, one of ftypes.FTYPES."""
    return quantize(Recipe.decode(inputs.artifact("recipe")), parameters["ftype"]).encode()


def quantize(source: Recipe, ftype: str) -> Recipe:
    """Give every tensor the type that the rules choose, in llama-quantize's order.

    Raises Error where a tensor is quantized already, or where the rules need what is not there.
    Source: llama.cpp src/llama-quant.cpp, llama_model_quantize_impl
    """
    model = model_of(source.metadata)
    ordered = sorted(source.tensors, key=lambda entry: ftypes.file_order(entry.name))
    try:
        chosen = ftypes.choose(ftype, model, {entry.name: entry.expression.shape for entry in ordered})
    except ValueError as error:
        raise Error(f"the experts' tensors do not fit the model: {error}") from None
    entries = []
    for entry in ordered:
        x = _requantized(entry, chosen[entry.name], ftype) if entry.name in chosen else entry.expression
        entries.append(Entry(entry.name, ftypes.stripped(entry.shape), x))
    dropped = ("general.quantization_version", "general.file_type", "split.no", "split.count", "split.tensors.count")
    metadata = {key: value for key, value in source.metadata.items() if key not in dropped}
    metadata["general.quantization_version"] = encode_value("u32", QUANTIZATION_VERSION)
    metadata["general.file_type"] = encode_value("u32", FTYPES[ftype])
    return Recipe(metadata, entries, source.constants)


def _requantized(entry: Entry, quant: str, ftype: str) -> Expression:
    source = entry.expression
    if source.dtype == quant:
        return source
    if source.dtype not in FLOATS:
        reason = "a second quantization adds its error to the first's" if quants.get(source.dtype).block > 1 else ""
        raise Error(
            f"cannot make {ftype} of tensor '{entry.name}': it is {source.dtype} already",
            facts=[("expected", "f32, f16 or bf16"), ("got", source.dtype)],
            hint="start from weights that are not quantized" + (f": {reason}" if reason else ""),
        )
    if quant == "q2_k" and ftype == "q2_K_S" and entry.name not in ("token_embd.weight", "output.weight"):
        raise Error("ftype q2_K_S needs an importance matrix, which is not built yet", hint="q2_K needs none")
    return recipe.quantize(quant, source)


def model_of(metadata: Mapping[str, bytes]) -> Model:
    """What the type rules ask of a model, from its metadata. Raises Error where that lacks a part or is no model's."""

    def value(key: str) -> Any:
        return decode_value(metadata[key]) if key in metadata else None

    name = value("general.architecture")
    kind = value("general.type")
    if not isinstance(name, str) or kind not in (None, "model"):
        what = "a GGUF file without an architecture" if kind in (None, "model") else f"a GGUF file of type '{kind}'"
        raise Error(f"{what} cannot be quantized: only models can")
    if name in ftypes.UNKNOWN_RULES:
        raise Error(f"quantizing a model of architecture '{name}' is not built yet")

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
                else f"'{name}.{key}' is missing"
            )
        return found

    heads = count("attention.head_count", 0)
    return Model(
        name, count("block_count", None), count("expert_count", 0), heads, count("attention.head_count_kv", heads)
    )
