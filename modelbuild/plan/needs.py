"""The disk space and memory that a build needs, and whether the machine has them."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelbuild import machine, steps
from modelbuild.digest import xxh3
from modelbuild.engine.graph import Graph
from modelbuild.errors import Error
from modelbuild.files import existing, free

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe
    from modelbuild.tensors.tensor import Shape


class FileToBe(NamedTuple):
    """What is kept of a recipe: what its file will hold, and what making it takes.

    key      equal for equal recipes
    size     bytes of the file
    memory   bytes for the largest piece that is computed at once
    names    of the tensors, in order; so are `types` and `shapes`
    """

    key: str
    size: int
    memory: int
    names: tuple[str, ...]
    types: tuple[str, ...]
    shapes: tuple[Shape, ...]

    @staticmethod
    def of(recipe: Recipe, encoded: bytes) -> FileToBe:
        from modelbuild.tensors.materialize import layout

        entries = recipe.tensors
        pieces = (x.footprint(0, x.unit) for x in (entry.expression for entry in entries))
        return FileToBe(
            xxh3(encoded),
            layout(recipe)[2],
            max(pieces, default=0),
            tuple(sys.intern(entry.name) for entry in entries),
            tuple(sys.intern(entry.expression.dtype) for entry in entries),
            tuple(entry.shape for entry in entries),
        )


class Need(NamedTuple):
    """What a step takes: bytes on the disk, and bytes of memory for the largest piece that is computed at once."""

    step: str
    disk: int
    memory: int


def of(graph: Graph, files: Mapping[str, FileToBe], wanted: Collection[str] | None, folder: str) -> list[Need]:
    """What making these files takes, and what copying others takes that go into `folder` as they are, in order.

    A file that two steps make of equal recipes, or that two take as it is, counts once.
    """
    seen: set[str] = set()
    found = []
    for step in graph.steps.values():
        if steps.module(step.kind).MAKES != "layer" or (wanted is not None and step.name not in wanted):
            continue
        file = files.get(next(step.needs, ""))
        if file is not None and next(step.sources, None) is None:
            found.append(Need(step.name, 0 if file.key in seen else file.size, file.memory))
            seen.add(file.key)
        for source in step.sources:
            copied = 0 if source.path in seen else _copied(source.path, folder, '"link":true' in step.parameters)
            found.append(Need(step.name, copied, 0))
            seen.add(source.path)
    return found


def _copied(path: str, folder: str, link: bool) -> int:
    """Bytes that a file takes once more where it is put into a folder as it is: by a link or a clone where that can be, else a copy."""
    try:
        info, there = os.stat(path), os.stat(existing(folder))
    except OSError:  # told by itself
        return 0
    shares = info.st_dev == there.st_dev and (link or _clones(path))
    return 0 if shares else info.st_size


def _clones(path: str) -> bool:
    """Whether the file system of a file may let two files share their blocks, where the system tells."""
    path = os.path.realpath(path)
    best, form = "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _, at, kind, *_ = line.split(" ")
                root = at.replace("\\040", " ").rstrip("/") + "/"
                if path.startswith(root) and len(root) >= len(best):
                    best, form = root, kind
    except (OSError, ValueError):
        return True
    return form in ("btrfs", "xfs", "bcachefs", "zfs", "ocfs2", "nfs4", "overlay")


def short_of(needs: Sequence[Need], folder: str, files: int = 0) -> dict[str, list[Error]]:
    """What the machine has too little of, by step: space in a folder that need not exist yet, memory; and room for so many files."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    left, available, room = free(folder), machine.available(), _inodes(folder)
    disk, memory = sum(need.disk for need in needs), max((need.memory for need in needs), default=0)
    no_space = Error(
        "not enough space on the disk for the new models",
        path=folder,
        facts=[("needed", f"{disk:,} bytes"), ("free", f"{left or 0:,} bytes")],
        hint="free some space, name other folders with --cache and --models, or build fewer at a time",
    )
    no_memory = Error(
        "this machine has too little memory for the largest matrix that must be computed in one piece",
        facts=[("needed", f"{memory:,} bytes"), ("available", f"{available or 0:,} bytes")],
        hint="close other programs, or build on a larger machine",
    )
    no_files = Error(
        "the disk has no room for as many more files as the models need: its inodes are used up",
        path=folder,
        facts=[("needed", f"{files:,} files"), ("free", f"{room or 0:,} files")],
        hint="remove files there that nobody needs, or name other folders with --cache and --models",
    )
    found: dict[str, list[Error]] = {}
    for need in needs:
        # In the order they are written, the first ones may fit.
        left = None if left is None else left - need.disk
        if need.disk and left is not None and left < 0:
            found.setdefault(need.step, []).append(no_space)
        if available is not None and need.memory > available:
            found.setdefault(need.step, []).append(no_memory)
        if room is not None and room < files:
            found.setdefault(need.step, []).append(no_files)
    return found


def _inodes(folder: str) -> int | None:
    """How many files can still be made in a folder; None where the file system does not count them."""
    try:
        counted = os.statvfs(folder)
    except OSError:
        return None
    return counted.f_favail if counted.f_files else None
