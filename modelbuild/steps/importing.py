"""Turn GGUF files into a recipe of leaves; the parts of a split one become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from modelbuild.tensors import ftypes
from modelbuild.tensors.formats import gguf, split
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Recipe
from modelbuild.tensors.tensor import TensorTable

VERSION = 1


class Inputs(Protocol):
    """What this step needs of its inputs: the tables of the GGUF file or of its parts, by file name."""

    def tables(self) -> Sequence[tuple[str, TensorTable]]: ...


def run(parameters: Mapping[str, Any], inputs: Inputs) -> bytes:
    """Make the recipe. There are no parameters."""
    tables = inputs.tables()
    in_parts = len(tables) > 1 or split.is_part(tables[0][1])
    table = split.merge(tables) if in_parts else tables[0][1]
    tensors = table.tensors.values()
    # llama-gguf-split writes shapes as ggml holds them, without the ones that a file may end them with.
    entries = [
        Entry(t.name, ftypes.stripped(t.shape) if in_parts else t.shape, leaf(t.digest, t.dtype, t.shape))
        for t in tensors
    ]
    # Whatever the source's alignment, what is made of it is laid out in steps of 32 bytes, and must not say otherwise.
    ours = encode_value("u32", gguf.ALIGNMENT)
    metadata = {key: value for key, value in table.metadata.items() if key != "general.alignment" or value == ours}
    return Recipe(metadata, entries).encode()
