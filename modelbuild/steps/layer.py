"""Make the blob of one layer: a GGUF file from a recipe, an unchanged file, or text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from modelbuild.ollama import manifest
from modelbuild.steps._inputs import BlobInputs

if TYPE_CHECKING:
    from modelbuild.engine.action import Made

VERSION = 1
MAKES = "layer"
POOL = ""
"""Of a text; one that is made of a recipe or a file says its own."""


class Parameters(TypedDict, total=False):
    """Which text it is: `text`, `parameters` or `messages`; with none of them it is made of its input.

    recognized  how it came about that the text is the template
    link        whether a file that is taken as it is may be a hard link
    operations  the versions of the operations by which a recipe becomes a file, but the first ones
    """

    text: str
    parameters: Mapping[str, Any]
    messages: Sequence[tuple[str, str]]
    recognized: str
    link: bool | None
    operations: Mapping[str, int] | None


def run(parameters: Parameters, inputs: BlobInputs) -> bytes | Made:
    """Make the blob: of a text, else of the file in the role `file` or the recipe in the role `recipe`."""
    if "text" in parameters:
        return str(parameters["text"]).encode()
    if "parameters" in parameters:
        return manifest.params_blob(parameters["parameters"])
    if "messages" in parameters:
        return manifest.messages_blob(parameters["messages"])
    if "file" in inputs.roles():
        return inputs.copy("file", link=bool(parameters.get("link")))
    return inputs.materialize(inputs.recipe("recipe"))
