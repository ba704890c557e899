"""Turn GGUF files into a recipe of leaves; the parts of a split one become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import Inputs, Looked

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe

VERSION = 1
MAKES = "recipe"
TYPES = True
POOL = "thread"


class Parameters(TypedDict):
    """There are none: the files decide all."""


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe. The roles of a split file's parts are their names."""
    return _made(inputs).encode()


def look(parameters: Parameters, inputs: Inputs) -> Looked:
    return Looked(_made(inputs))


def _made(inputs: Inputs) -> Recipe:
    from modelbuild.tensors import ftypes
    from modelbuild.tensors.formats import gguf, split
    from modelbuild.tensors.operations.leaf import leaf
    from modelbuild.tensors.recipe import Entry, Recipe

    tables = inputs.tables()
    in_parts = len(tables) > 1 or split.is_part(tables[0][1])
    try:
        table = split.merge(tables) if in_parts else tables[0][1]
    except Error as error:
        raise error.of_input() from error
    tensors = table.tensors.values()
    # llama-gguf-split writes shapes as ggml holds them, without the ones that a file may end them with.
    entries = [
        Entry(t.name, ftypes.stripped(t.shape) if in_parts else t.shape, leaf(t.digest, t.dtype, t.shape))
        for t in tensors
    ]
    # Whatever the source's alignment, what is made of it is laid out in steps of 32 bytes, and must not say otherwise.
    ours = gguf.encode_value("u32", gguf.ALIGNMENT)
    metadata = {key: value for key, value in table.metadata.items() if key != "general.alignment" or value == ours}
    return Recipe(metadata, entries)
