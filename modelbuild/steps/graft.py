"""Turn the recipe of a checkpoint into that of the same checkpoint with an adapter in it, by the checkpoint's own names."""

from __future__ import annotations

from typing import TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import Inputs

VERSION = 1
MAKES = "weights"
POOL = "thread"


class Parameters(TypedDict):
    """scale  a factor on the adapter's own"""

    scale: float


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe of the one in the role `checkpoint`. The roles of the other inputs are the names of the adapter's files."""
    from modelbuild.checkpoint import restored
    from modelbuild.checkpoint.adapters import reading

    try:
        base = inputs.recipe("checkpoint")
        adapter = reading.read(inputs)
        return restored.grafted(base, adapter, inputs, scale=parameters["scale"]).encode()
    except Error as error:
        raise error.of_input() from error
