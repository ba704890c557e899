"""Turn a recipe into a recipe of the same model with the project's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from modelbuild.steps._inputs import Inputs, Looked

VERSION = 1
MAKES = "recipe"
TYPES = False
POOL = "thread"


class Parameters(TypedDict):
    """metadata  key -> value, as checkpoint.metadata.check passes them"""

    metadata: Mapping[str, Any]


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe of the one in the role `recipe`."""
    from modelbuild.checkpoint.described import describe
    from modelbuild.tensors.recipe import Recipe

    source = Recipe.decode(inputs.artifact("recipe"))
    return Recipe(describe(source.metadata, parameters["metadata"]), source.tensors, source.constants).encode()


def look(parameters: Parameters, inputs: Inputs) -> Looked:
    return Looked(run(parameters, inputs))
