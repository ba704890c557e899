"""Make the config blob: the facts that `ollama list` and `ollama show` print without opening the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, TypedDict

from modelbuild.ollama.manifest import ConfigV2, file_type_name, human_number
from modelbuild.steps._inputs import Inputs

VERSION = 1
MAKES = "config"
POOL = ""


class Parameters(TypedDict, total=False):
    """What the config says as it is given, and the following. A `draft` without an architecture has the model's.

    models  how many model layers there are
    base    the config of the model that the model layer was taken over from, where it was
    """

    models: int
    base: Mapping[str, Any]
    renderer: str
    parser: str
    requires: str
    capabilities: Sequence[str]
    draft: Mapping[str, Any]


_GIVEN = ("renderer", "parser", "requires", "capabilities", "draft")


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the blob from the recipe of the model layer; where that layer was taken over from elsewhere, from its `base` config."""
    given: dict[str, Any] = {key: value for key, value in parameters.items() if key in _GIVEN}
    if "recipe" not in inputs.roles():
        base = parameters.get("base", {})
        return ConfigV2(
            model_family=_text(base, "model_family"),
            model_families=[str(family) for family in base.get("model_families") or []],
            model_type=_text(base, "model_type"),
            file_type=_text(base, "file_type"),
            **given,
        ).encode()
    from modelbuild.tensors.formats import gguf

    recipe = inputs.recipe("recipe")
    family = _value(gguf, recipe.metadata, "general.architecture", "str")
    file_type = _value(gguf, recipe.metadata, "general.file_type", "u32")
    if "draft" in given:
        given["draft"] = {"architecture": family or "", **given["draft"]}
    return ConfigV2(
        model_family=family or "",
        model_families=[family or ""] * int(parameters["models"]),
        model_type=human_number(sum(prod(entry.shape) for entry in recipe.tensors)),
        file_type=file_type_name(file_type),
        **given,
    ).encode()


def _text(base: Mapping[str, Any], key: str) -> str:
    value = base.get(key)
    return value if isinstance(value, str) else ""


def _value(gguf: Any, metadata: Mapping[str, bytes], key: str, form: str) -> Any:
    """A metadata value of the type that Ollama reads it by; another type counts as missing."""
    value = metadata.get(key)
    return gguf.decode_value(value) if value is not None and gguf.type_name(value) == form else None
