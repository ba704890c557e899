"""Make the blob of one layer: a GGUF file from a recipe, a file taken as it is, or text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from modelbuild.ollama import manifest

if TYPE_CHECKING:
    from modelbuild.engine.action import Made
    from modelbuild.tensors.recipe import Recipe

VERSION = 1


class Inputs(Protocol):
    """What this step needs of its inputs: a recipe's bytes and the file it describes, or a source file as it is."""

    def roles(self) -> Sequence[str]: ...
    def artifact(self, role: str, /) -> bytes: ...
    def copy(self, role: str, /, link: bool) -> Made: ...
    def materialize(self, recipe: Recipe, /) -> Made: ...


def run(parameters: Mapping[str, Any], inputs: Inputs) -> bytes | Made:
    """Parameters say which text (`text`, `parameters` or `messages`); else the input's role says how the blob is made."""
    if "text" in parameters:
        return str(parameters["text"]).encode()
    if "parameters" in parameters:
        return manifest.params_blob(parameters["parameters"])
    if "messages" in parameters:
        return manifest.messages_blob(parameters["messages"])
    if "file" in inputs.roles():
        return inputs.copy("file", link=bool(parameters.get("link")))
    from modelbuild.tensors.recipe import Recipe

    return inputs.materialize(Recipe.decode(inputs.artifact("recipe")))
