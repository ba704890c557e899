"""Turn a recipe into that of the same model with an adapter in its weights."""

from __future__ import annotations

from typing import TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import Inputs

VERSION = 1
MAKES = "recipe"
TYPES = False
POOL = "thread"


class Parameters(TypedDict, total=False):
    """What decides a merge besides the adapter's files and the model.

    scale       a factor on the adapter's own
    requantize  unpack, change and pack again what is quantized already
    """

    scale: float
    requantize: bool | None


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe of the one in the role `recipe`. The roles of the other inputs are the names of the adapter's files."""
    from modelbuild.checkpoint.adapters import merged, reading
    from modelbuild.tensors.recipe import Recipe

    base = Recipe.decode(inputs.artifact("recipe"))
    try:
        adapter = reading.read(inputs)
        requantize = bool(parameters.get("requantize"))
        return merged.recipe(base, adapter, scale=parameters["scale"], requantize=requantize).encode()
    except Error as error:
        raise error.of_input() from error


look = run
