"""Turn a recipe into that of the same model with an adapter in its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import BlobInputs, Inputs, Looked

if TYPE_CHECKING:
    from modelbuild.checkpoint.adapters.adapter import Adapter
    from modelbuild.checkpoint.adapters.merged import Merged
    from modelbuild.tensors.recipe import Recipe

VERSION = 3
MAKES = "recipe"
TYPES = False
POOL = "thread"


class Parameters(TypedDict, total=False):
    """What decides a merge besides the adapter's files and the model.

    scale       a factor on the adapter's own
    requantize  unpack, change and pack again what is quantized already
    unpacked    leave that in f32: it is for a quantization, which rounds it once
    allow_zero  whether an adapter that changes nothing is taken
    mtp         `drop`: the model is without its blocks for the prediction of several tokens, and what the adapter says of them is left
                out; `only`: it is these blocks alone, and so is what counts of the adapter
    """

    scale: float
    requantize: bool | None
    unpacked: bool | None
    allow_zero: bool | None
    mtp: str | None


def run(parameters: Parameters, inputs: BlobInputs) -> bytes:
    """Make the recipe of the one in the role `recipe`. The roles of the other inputs are the names of the adapter's files."""
    from modelbuild.checkpoint.adapters import reading, trained

    try:
        _, adapter, made = _made(parameters, inputs)
        trained.check(adapter, inputs.values, allow_zero=bool(parameters.get("allow_zero")))
        return made.recipe.encode()
    except Error as error:
        raise reading.placed(error, inputs) from error


def look(parameters: Parameters, inputs: Inputs) -> Looked:
    """Make the recipe, and say where the adapter names another model than this one, and what is quantized a second time."""
    from modelbuild.checkpoint.adapters import naming, reading

    try:
        base, adapter, made = _made(parameters, inputs)
        return Looked(made.recipe, [*naming.doubts(adapter, base.metadata), *made.doubts])
    except Error as error:
        raise reading.placed(error, inputs) from error


def _made(parameters: Parameters, inputs: Inputs) -> tuple[Recipe, Adapter, Merged]:
    from modelbuild.checkpoint.adapters import merged, parted, reading
    from modelbuild.checkpoint.adapters.places import Places

    base = inputs.recipe("recipe")
    adapter = reading.read(inputs)
    requantize, unpacked = bool(parameters.get("requantize")), bool(parameters.get("unpacked"))
    described = reading.card_of(inputs, "")
    mtp = parameters.get("mtp")
    part = parted.of(adapter, mtp, Places(base)) if mtp else adapter
    made = merged.recipe(base, part, described, scale=parameters["scale"], requantize=requantize, unpacked=unpacked)
    return base, adapter, made
