"""Parts that a checkpoint gives beside its text model, by the class that it is read as."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelbuild import lfs
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.project import lock

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
    return of_kinds(folder, found, tables)


def of_kinds(folder: str, kinds: Iterable[str], tables: Sequence[Deciding]) -> Mapping[str, tuple[Deciding, ...]]:
    """The parts of these kinds."""
    from modelbuild.checkpoint import parts

    return {kind: (*small(folder, parts.get(kind).FILES), *tables) for kind in kinds}


def for_lock(folder: str) -> Mapping[str, lock.Head]:
    """What the lock says of the parts that the checkpoint in a folder gives, by its weights files; nothing where other files tell that."""
    from modelbuild.checkpoint import parts as all_parts
    from modelbuild.checkpoint import shards
    from modelbuild.checkpoint.checkpoint import Checkpoint

    observed = Observed()
    try:
        names = [each for each, kind, _ in observed.entries(folder) if kind == "file"]
        if "config.json" not in names or shards.INDEX in names:
            return {}
        weights = shards.weights(names, None, folder)
        config = Checkpoint({"config.json": observed.read(os.path.join(folder, "config.json"))}.get).config
    except (Error, OSError):
        return {}
    tables = [(each, Source(os.path.join(folder, each), "safetensors")) for each in weights]
    if not all_parts.possible(config) or not all(lfs.is_here(source.path) for _, source in tables):
        return {}
    head = {lock.PARTS: " ".join(parts(observed, folder, config, tables))}
    return dict.fromkeys(weights, head)


def small(folder: str, names: Iterable[str]) -> tuple[Deciding, ...]:
    """The small files of a folder, there or not."""
    return tuple((name, Source(os.path.join(folder, *name.split("/")), "bytes")) for name in names)


def _tensors(observed: Observed, path: str) -> Iterable[str]:
    from modelbuild.tensors.formats import safetensors

    observed.stat(path)
    return safetensors.table(path).tensors
