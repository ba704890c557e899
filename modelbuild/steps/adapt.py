"""Turn an adapter into the recipe of a GGUF file that the runtime lays over the model of another recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import BlobInputs, Inputs, Looked

if TYPE_CHECKING:
    from modelbuild.checkpoint.adapters.adapter import Adapter
    from modelbuild.tensors.recipe import Recipe

VERSION = 2
MAKES = "recipe"
TYPES = True
POOL = "thread"


class Parameters(TypedDict, total=False):
    """What decides an adapter's file besides its own files and the model.

    folder      the name of its folder, from which it takes its name
    outtype     f32, f16, bf16, q8_0, or `source` or `auto`: as the adapter has it
    scale       a factor on the adapter's own
    allow_zero  whether an adapter that changes nothing is taken
    """

    folder: str
    outtype: str
    scale: float
    allow_zero: bool | None


def run(parameters: Parameters, inputs: BlobInputs) -> bytes:
    """Make the recipe, for the model in the role `recipe`. The roles of the other inputs are the names of the adapter's files."""
    from modelbuild.checkpoint.adapters import reading, trained

    try:
        _, adapter, made = _made(parameters, inputs)
        trained.check(adapter, inputs.values, allow_zero=bool(parameters.get("allow_zero")))
        return made.encode()
    except Error as error:
        raise reading.placed(error, inputs) from error


def look(parameters: Parameters, inputs: Inputs) -> Looked:
    """Make the recipe, and say where the adapter names another model than this one, and what the runtime does not apply it to."""
    from modelbuild.checkpoint.adapters import layer, naming, reading

    try:
        base, adapter, made = _made(parameters, inputs)
        return Looked(made, [*naming.doubts(adapter, base.metadata), *layer.doubts(base, made)])
    except Error as error:
        raise reading.placed(error, inputs) from error


def _made(parameters: Parameters, inputs: Inputs) -> tuple[Recipe, Adapter, Recipe]:
    from modelbuild.checkpoint.adapters import layer, reading

    base = inputs.recipe("recipe")
    described = reading.card_of(inputs, parameters["folder"])
    adapter = reading.read(inputs)
    made = layer.recipe(base, adapter, described, outtype=parameters["outtype"], scale=parameters["scale"])
    return base, adapter, made
