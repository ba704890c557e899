"""Whether the weights of a checkpoint have dtypes that no model of its kind can have, such as quantized values without scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelbuild.checkpoint.config import Config
from modelbuild.checkpoint.structure import source
from modelbuild.checkpoint.tables import SHOWN
from modelbuild.checkpoint.weights import FP8
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Entry, Expression
from modelbuild.words import listed

_WHOLE = ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "bool")
_SCALED = ("scale", "mxfp4", "nvfp4", "dequantize", "reciprocal")


def faults(entries: Sequence[Entry], config: Config) -> Iterator[Error]:
    """Whole numbers where the model has weights: what a quantized model stores beside scales, which make weights of them."""
    found = _of(_matrices(entries), _WHOLE)
    if found and "float" in _said(config):
        yield Error(
            f"the checkpoint contains {_count(found)} of whole numbers, but config.json says {_said(config)}",
            facts=[_tensors(found)],
            hint="these are quantized values without their scales: start from the unquantized weights",
        )


def doubts(entries: Sequence[Entry], config: Config, kind: str) -> Iterator[Error]:
    """What can hardly be meant for weights, and may be; `kind` is what the entries are the file of, such as `projector`."""
    matrices = _matrices(entries)
    if found := _of(matrices, _WHOLE):
        yield Error(
            f"the checkpoint contains {_count(found)} of whole numbers, and no {kind} has such weights",
            facts=[_tensors(found)],
            hint="if these are quantized values without their scales, the model outputs garbage: "
            "start from the unquantized weights",
        )
    if (found := _of(matrices, FP8)) and "float8" not in _said(config):
        yield Error(
            f"the checkpoint contains {_count(found)} of fp8 without scales, and config.json does not say so",
            facts=[("torch_dtype", _said(config) or "not said"), _tensors(found)],
            hint="this is right if the weights were rounded to fp8 as they are; if their scales were removed, "
            "the model outputs garbage: start from the folder with its scales and quantization_config",
        )


def _matrices(entries: Sequence[Entry]) -> list[tuple[Entry, set[str]]]:
    """The matrices, and the dtypes of the weights without scales that they are made of."""
    return [(each, _bare(each.expression)) for each in entries if len(each.shape) > 1]


def _of(matrices: Sequence[tuple[Entry, set[str]]], dtypes: Sequence[str]) -> list[Entry]:
    return [each for each, bare in matrices if not bare.isdisjoint(dtypes)]


def _said(config: Config) -> str:
    """The dtype that config.json says the weights have; a model of several parts may say it in them alone."""
    parts = (config, config.get("vision_config"), config.get("text_config"))
    said = (part.get(key) for part in parts if isinstance(part, dict) for key in ("torch_dtype", "dtype"))
    return str(next(filter(None, said), ""))


def _count(found: Sequence[Entry]) -> str:
    return "1 matrix" if len(found) == 1 else f"{len(found)} matrices"


def _tensors(found: Sequence[Entry]) -> tuple[str, str]:
    return "tensors", listed((source(entry.expression) or entry.name for entry in found), SHOWN)


def _bare(expression: Expression) -> set[str]:
    """The dtypes of the weights that a tensor is made of, but for those that scales belong to."""
    if expression.operation == "leaf":
        return {expression.dtype}
    if expression.operation in _SCALED:
        return set()
    operands = expression.operands
    # Hundreds of experts are leaves of one dtype.
    found = {each.dtype for each in operands if each.operation == "leaf"}
    return found.union(*(_bare(each) for each in operands if each.operation != "leaf"))
