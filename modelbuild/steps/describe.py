"""Turn a recipe into a recipe of the same model with the project's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from modelbuild.steps._inputs import Inputs, Looked

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe

VERSION = 1
MAKES = "recipe"
TYPES = False
POOL = "thread"


class Parameters(TypedDict):
    """metadata  key -> value, as checkpoint.metadata.check passes them"""

    metadata: Mapping[str, Any]


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe of the one in the role `recipe`."""
    return _made(parameters, inputs).encode()


def look(parameters: Parameters, inputs: Inputs) -> Looked:
    return Looked(_made(parameters, inputs))


def _made(parameters: Parameters, inputs: Inputs) -> Recipe:
    from modelbuild.checkpoint.described import describe
    from modelbuild.tensors.recipe import Recipe

    source = inputs.recipe("recipe")
    return Recipe(describe(source.metadata, parameters["metadata"]), source.tensors, source.constants)
