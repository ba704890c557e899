"""Make one safetensors file of the recipe of a checkpoint."""

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
    """Make the file of the recipe in the role `checkpoint`."""
    from modelbuild.tensors.recipe import Recipe
    from modelbuild.tensors.tensor import byte_count

    found = inputs.recipe("checkpoint")
    # The widest values first, as save_file has them: then all of them are aligned.
    entries = sorted(found.tensors, key=lambda entry: -byte_count(entry.expression.dtype, (1,)))
    return inputs.pack(Recipe(found.metadata, entries, found.constants))
