"""NVFP4 with the scales that stand beside it, as plain floats.

A tensor in NVFP4 is multiplied by a scale that a file holds as a tensor of its own, `NAME.scale`, one value for each matrix; what is made
of the tensor in another type has the scale in its values.
Source: llama.cpp src/llama-model.cpp, load_tensors; llama-graph.cpp, build_lora_mm
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from modelbuild.errors import Error
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.quants import FLOATS
from modelbuild.tensors.recipe import Entry, Expression, Recipe

SCALES = (".scale", ".input_scale")
_OF_NVFP4 = ("general.tensor_extra.name", "general.tensor_extra.prec_a4")


def multiplied(source: Recipe, chosen: Mapping[str, str]) -> Recipe:
    """The recipe with f32 in place of NVFP4 wherever another type is chosen, without the scales of these tensors.

    chosen  name -> the type that the tensor shall have
    Raises Error for scales that are not one for each matrix.
    """
    beside = {entry.name: entry for entry in source.tensors}
    stems = {
        entry.name.removesuffix(".weight")
        for entry in source.tensors
        if entry.expression.dtype == "nvfp4" and chosen.get(entry.name, "nvfp4") != "nvfp4"
    }
    if not stems:
        return source
    entries = []
    for entry in source.tensors:
        if entry.name.removesuffix(".weight") in stems:
            entries.append(Entry(entry.name, entry.shape, _values(entry, beside.get(_scale_of(entry.name)))))
        elif not (entry.name.endswith(SCALES) and entry.name.rpartition(".")[0] in stems):
            entries.append(entry)
    metadata = dict(source.metadata)
    if not any(entry.expression.dtype == "nvfp4" for entry in entries):
        for key in _OF_NVFP4:
            metadata.pop(key, None)
    return Recipe(metadata, entries, source.constants)


def _scale_of(name: str) -> str:
    return f"{name.removesuffix('.weight')}.scale"


def _values(entry: Entry, factors: Entry | None) -> Expression:
    values = dequantize(entry.expression)
    if factors is None:
        return values
    matrices = prod(values.shape[:-2])
    if factors.expression.dtype not in FLOATS or prod(factors.shape) != matrices:
        raise Error(
            f"the scales '{factors.name}' do not fit '{entry.name}'",
            facts=[("expected", f"{matrices} of f32"), ("got", f"{factors.expression.dtype} {list(factors.shape)}")],
            hint="the file is damaged: get it again, or convert it again from its weights",
        )
    one_each = reshape(factors.expression, (*values.shape[:-2], 1, 1))
    return scale(values, one_each, (values.shape[-2], values.shape[-1]))
