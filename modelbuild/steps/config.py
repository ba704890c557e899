"""Make the config blob: what `ollama list` and `ollama show` say of a model without opening it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Protocol

from modelbuild.ollama.manifest import ConfigV2, file_type_name, human_number

VERSION = 1


class Inputs(Protocol):
    """What this step needs of its inputs: the recipe of the model layer, in the role `recipe`, where it is made of one."""

    def roles(self) -> Sequence[str]: ...
    def artifact(self, role: str, /) -> bytes: ...


def run(parameters: Mapping[str, Any], inputs: Inputs) -> bytes:
    """From the recipe of the model layer; where that layer was taken over from elsewhere, from its `base` config.

    Parameters: `renderer`, `parser`, `requires`, `capabilities`, `draft`; `models`, how many model layers there are; `base`.
    """
    keys = ("renderer", "parser", "requires", "capabilities", "draft")
    given: dict[str, Any] = {key: parameters[key] for key in keys if key in parameters}
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
    from modelbuild.tensors.recipe import Recipe

    recipe = Recipe.decode(inputs.artifact("recipe"))
    family = _value(gguf, recipe.metadata, "general.architecture", "str")
    file_type = _value(gguf, recipe.metadata, "general.file_type", "u32")
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
