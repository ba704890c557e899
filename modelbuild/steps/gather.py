"""Turn a checkpoint folder into a recipe of the same checkpoint: its own tensors by their own names, and its small files."""

from __future__ import annotations

from typing import TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import Inputs

VERSION = 1
MAKES = "weights"
POOL = "thread"


class Parameters(TypedDict):
    """There are none: the files decide all."""


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe. The roles of the inputs are the names of the files in the folder."""
    from modelbuild.checkpoint import restored

    try:
        return restored.gathered(inputs).encode()
    except Error as error:
        raise error.of_input() from error
