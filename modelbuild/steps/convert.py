"""Turn a checkpoint folder, or one part of it, into the recipe of the file that llama.cpp's convert_hf_to_gguf.py writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from modelbuild.errors import Error, Errors
from modelbuild.steps._inputs import Inputs, Looked

if TYPE_CHECKING:
    from modelbuild.checkpoint.parts import Converted

VERSION = 1
MAKES = "recipe"
TYPES = True
POOL = "thread"


class Parameters(TypedDict, total=False):
    """What decides a conversion besides the folder's files.

    folder   its name, from which a model without a better one takes its own
    outtype  the float type of the file, `q8_0`, or `source` or `auto`: as the weights have it
    pre      the name of the pre-tokenizer, where it is not to be found out
    plugin   name and version of the package that reads the class, where that is none of ours
    mtp      `drop`: without its blocks for the prediction of several tokens
    part     the part beside the text model that is converted (checkpoint/parts); None: the text model itself
    blind    whether somebody has said that the checkpoint has no towers: then no warning says it

    architecture  the class that the checkpoint is read as, where it is not the one in config.json
    """

    folder: str
    outtype: str
    pre: str | None
    plugin: str | None
    architecture: str
    mtp: str
    part: str | None
    blind: bool | None


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe. The roles of the inputs are the names of the files in the folder."""
    try:
        return _conversion(parameters, inputs).recipe.encode()
    except Error as error:
        raise error.of_input() from error


def look(parameters: Parameters, inputs: Inputs) -> Looked:
    """Make the recipe. Raises Errors: all that is wrong, and what the runtime would refuse to load."""
    try:
        conversion = _conversion(parameters, inputs)
        if faults := conversion.faults():
            raise Errors([fault.of_input() for fault in faults])
        lost, lacking = _beside(parameters, inputs)
        if lost:
            raise Errors([error.of_input() for error in lost])
        warnings = [*conversion.warnings(), *lacking]
        return Looked(conversion.recipe, [warning.of_input() for warning in warnings])
    except Error as error:
        raise error.of_input() from error


def _beside(parameters: Parameters, inputs: Inputs) -> tuple[list[Error], list[Error]]:
    """Errors and warnings about what a text model has not beside it, and others of its class have."""
    from modelbuild.checkpoint import parts, shards
    from modelbuild.checkpoint.checkpoint import Checkpoint
    from modelbuild.checkpoint.config import as_class
    from modelbuild.checkpoint.tensor_names import one_of_each

    config = as_class(Checkpoint(inputs.file).config, parameters.get("architecture"))
    if parameters.get("part") is not None or parameters.get("blind") or not parts.possible(config):
        return [], []
    if (index := inputs.file(shards.INDEX)) is not None:
        # A conversion without faults has seen that these are the ones.
        tensors = shards.indexed(index)
    else:
        tensors = one_of_each(name for _, table in inputs.tables() for name in table.tensors)
    gap = shards.gap(inputs.roles())
    return [*parts.lost(config, tensors, gap)], [*parts.lacking(config, tensors, gap)]


def _conversion(parameters: Parameters, inputs: Inputs) -> Converted:
    from modelbuild.checkpoint import parts
    from modelbuild.checkpoint.conversion import Conversion

    folder, outtype = parameters["folder"], parameters["outtype"]
    if part := parameters.get("part"):
        named = parameters.get("architecture")
        return parts.get(part).convert(inputs, folder, outtype, parameters.get("pre"), named)
    return Conversion(
        inputs,
        folder=folder,
        outtype=outtype,
        pre=parameters.get("pre"),
        plugin=parameters.get("plugin"),
        mtp=parameters.get("mtp", "keep"),
        architecture=parameters.get("architecture"),
    )
