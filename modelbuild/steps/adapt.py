"""Turn an adapter into the recipe of a GGUF file that the runtime lays over the model of another recipe."""

from __future__ import annotations

from typing import TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import Inputs

VERSION = 1
MAKES = "recipe"
TYPES = True
POOL = "thread"


class Parameters(TypedDict):
    """What decides an adapter's file besides its own files and the model.

    folder   the name of its folder, from which it takes its name
    outtype  f32, f16, bf16, q8_0, or `source` or `auto`: as the adapter has it
    scale    a factor on the adapter's own
    """

    folder: str
    outtype: str
    scale: float


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe, for the model in the role `recipe`. The roles of the other inputs are the names of the adapter's files."""
    from modelbuild.checkpoint.adapters import layer, reading
    from modelbuild.tensors.recipe import Recipe

    base = Recipe.decode(inputs.artifact("recipe"))
    try:
        described = reading.card_of(inputs, parameters["folder"])
        adapter = reading.read(inputs)
        made = layer.recipe(base, adapter, described, outtype=parameters["outtype"], scale=parameters["scale"])
        return made.encode()
    except Error as error:
        raise error.of_input() from error


look = run
