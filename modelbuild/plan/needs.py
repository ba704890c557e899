"""What making the files of recipes takes of a machine, and what it has too little of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelbuild import steps
from modelbuild.engine.graph import Graph
from modelbuild.errors import Error

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe


class Need(NamedTuple):
    """What a step takes: bytes on the disk, and bytes of memory for the largest piece that is computed at once."""

    step: str
    disk: int
    memory: int


def of(graph: Graph, recipes: Mapping[str, Recipe], wanted: Collection[str] | None = None) -> list[Need]:
    """What making the files of these recipes takes, in order; a file that two steps make of equal recipes counts once."""
    from modelbuild.tensors.materialize import layout

    seen: set[int] = set()
    found = []
    for step in graph.steps.values():
        recipe = recipes.get(next(step.needs, "")) if steps.module(step.kind).MAKES == "layer" else None
        if recipe is None or (wanted is not None and step.name not in wanted):
            continue
        spelled = hash(recipe.encode())
        disk = 0 if spelled in seen else layout(recipe)[2]
        seen.add(spelled)
        pieces = (x.footprint(0, x.unit) for x in (entry.expression for entry in recipe.tensors))
        found.append(Need(step.name, disk, max(pieces, default=0)))
    return found


def short_of(needs: Sequence[Need], folder: str) -> dict[str, list[Error]]:
    """What the machine has too little of, by step: space in a folder that need not exist yet, memory."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free, available = shutil.disk_usage(folder).free, _memory()
    disk, memory = sum(need.disk for need in needs), max((need.memory for need in needs), default=0)
    no_space = Error(
        "not enough space on the disk for the new models",
        path=folder,
        facts=[("needed", f"{disk:,} bytes"), ("free", f"{free:,} bytes")],
        hint="free some space, name other folders with --cache and --models, or build fewer at a time",
    )
    no_memory = Error(
        "this machine has too little memory for the largest matrix that must be computed in one piece",
        facts=[("needed", f"{memory:,} bytes"), ("available", f"{available or 0:,} bytes")],
        hint="close other programs, or build on a larger machine",
    )
    found: dict[str, list[Error]] = {}
    for need in needs:
        # In the order they are written, the first ones may fit.
        free -= need.disk
        if need.disk and free < 0:
            found.setdefault(need.step, []).append(no_space)
        if available is not None and need.memory > available:
            found.setdefault(need.step, []).append(no_memory)
    return found


def _memory() -> int | None:
    """Bytes that a program can still have, where the system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
