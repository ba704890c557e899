"""Parts that a checkpoint gives beside its text model, by the class that it is read as."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.observed import Observed

Deciding = tuple[str, Source]
"""A file that decides a conversion: the name that it has there, and where it lies."""


def parts(
    observed: Observed, folder: str, config: Mapping[str, Any], tables: Sequence[Deciding]
) -> Mapping[str, tuple[Deciding, ...]]:
    """The parts of a folder with a config.json and weights files (`tables`), and the files that decide their conversion.

    What is wrong with its files is for the conversion to say.
    """
    from modelbuild.checkpoint import parts, shards
    from modelbuild.checkpoint.tensor_names import one_of_each

    if not (possible := parts.possible(config)):
        return {}
    try:
        index = os.path.join(folder, shards.INDEX)
        if observed.kind(index) == "file":
            names = shards.indexed(observed.read(index))
        else:
            names = one_of_each(each for _, source in tables for each in _tensors(observed, source.path))
        found = {part: parts.get(part) for part in possible if parts.get(part).is_given(config, names)}
    except (Error, OSError):
        return {}
    return {part: (*small(folder, each.FILES), *tables) for part, each in found.items()}


def small(folder: str, names: Iterable[str]) -> tuple[Deciding, ...]:
    """The small files of a folder, there or not."""
    return tuple((name, Source(os.path.join(folder, *name.split("/")), "bytes")) for name in names)


def _tensors(observed: Observed, path: str) -> Iterable[str]:
    from modelbuild.tensors.formats import safetensors

    observed.stat(path)
    return safetensors.table(path).tensors
