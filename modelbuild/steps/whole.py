"""Make the GGUF file of a recipe for a tool to read: it goes into no models folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from modelbuild.steps._inputs import BlobInputs

if TYPE_CHECKING:
    from modelbuild.engine.action import Made

VERSION = 1
MAKES = "weights"
POOL = "cores"


class Parameters(TypedDict, total=False):
    """operations  the versions of the operations by which a recipe becomes a file, but the first ones"""

    operations: Mapping[str, int] | None


def run(parameters: Parameters, inputs: BlobInputs) -> Made:
    """Make the file of the recipe in the role `recipe`; what a tool made of its tensors is in the role `weights`."""
    return inputs.materialize(inputs.recipe("recipe"), stored=True)
