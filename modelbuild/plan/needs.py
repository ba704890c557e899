"""The disk space and memory that a build needs, and whether the machine has them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from modelbuild import machine, steps, tools
from modelbuild.engine import spare, unfinished
from modelbuild.engine.graph import Graph, Step
from modelbuild.errors import Error
from modelbuild.files import existing, free
from modelbuild.tuples import NamedTuple
from modelbuild.words import size

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe
    from modelbuild.tensors.tensor import Shape


class FileToBe(NamedTuple):
    """What is kept of a recipe: what its file will hold, and what making it takes.

    key      equal for equal recipes, in one process
    size     bytes of the file
    memory   bytes for the largest piece that is computed at once
    names    of the tensors, in order; so are `types` and `shapes`
    architecture  of the model, where it says one
    """

    key: int
    size: int
    memory: int
    names: tuple[str, ...]
    types: tuple[str, ...]
    shapes: tuple[Shape, ...]
    architecture: str = ""

    @staticmethod
    def of(recipe: Recipe) -> FileToBe:
        from modelbuild.tensors.formats import gguf
        from modelbuild.tensors.materialize import layout

        entries = recipe.tensors
        pieces = (x.footprint(0, x.unit) for x in (entry.expression for entry in entries))
        return FileToBe(
            hash((tuple(recipe.metadata.items()), tuple(entries))),
            layout(recipe)[2],
            max(pieces, default=0),
            tuple(sys.intern(entry.name) for entry in entries),
            tuple(sys.intern(entry.expression.dtype) for entry in entries),
            tuple(entry.shape for entry in entries),
            str(gguf.scalar(recipe.metadata, "general.architecture") or ""),
        )


class Need(NamedTuple):
    """What a step takes: bytes on the disk, and bytes of memory for the largest piece that is computed at once.

    stored  its file stays in the cache
    tool    the program of the user's own that it is for
    """

    step: str
    disk: int
    memory: int
    stored: bool = False
    tool: str = ""


def of(graph: Graph, files: Mapping[str, FileToBe], wanted: Collection[str] | None, folder: str) -> list[Need]:
    """What making these files takes, and what copying others takes that go into `folder` as they are, in order.

    A file that two steps make of equal recipes, or that two take as it is, counts once.
    """
    seen: set[int | str] = set()
    found = []
    for step in graph.steps.values():
        if wanted is not None and step.name not in wanted:
            continue
        if (kind := steps.module(step.kind)).MAKES == "weights" and kind.POOL == "cores":
            found.append(Need(step.name, _below(graph, step), 0, stored=True))
        if steps.is_foreign(step.kind):
            found.append(_of_tool(graph, step, files))
        if kind.MAKES != "layer":
            continue
        file = files.get(next(step.needs, ""))
        if file is not None and next(step.sources, None) is None:
            found.append(Need(step.name, 0 if file.key in seen else file.size, file.memory))
            seen.add(file.key)
        for source in step.sources:
            is_new = source.path not in seen and not source.is_away()
            copied = _copied(source.path, folder, '"link":true' in step.parameters) if is_new else 0
            found.append(Need(step.name, copied, 0))
            seen.add(source.path)
    return found


def _of_tool(graph: Graph, step: Step, files: Mapping[str, FileToBe]) -> Need:
    """What a program of the user's own takes, as far as its inputs are known before they are made."""
    read = text = vocabulary = 0
    for role, ref in step.inputs:
        if isinstance(ref, str):
            recipe = files.get(next(graph.steps[ref].needs, ""))
            if recipe is not None:
                read += recipe.size
                vocabulary = tools.vocabulary(dict(zip(recipe.names, recipe.shapes, strict=True)))
        elif role.startswith(tools.INPUT + "/"):
            with contextlib.suppress(OSError):
                length = os.stat(ref.path).st_size
                read, text = read + length, text + (0 if ref.is_weights else length)
    values = json.loads(step.parameters)
    tool = tools.get(values["tool"])
    needed = tool.needs(values["options"], tools.Sizes(read, 0, text, vocabulary))
    return Need(step.name, needed.disk, needed.memory, stored=True, tool=tool.TITLE)


def _below(graph: Graph, step: Step) -> int:
    """Bytes of the weights that a step is made of; a checkpoint that is written anew is as large."""
    total = 0
    for source in graph.up_to([step.name]).sources():
        with contextlib.suppress(OSError):
            total += os.stat(source.path).st_size if source.is_weights else 0
    return total


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


class Room(NamedTuple):
    """Where a build writes: the folder of the models, and the cache for the weights of exports.

    kept  folders with unfinished and spare files: a build uses these, or may remove them
    """

    folder: str
    store: str | None = None
    kept: tuple[str, ...] = ()


class _Disk:
    """A file system that is written to: the bytes that it has for a build, None where it does not tell, and what is needed of it."""

    def __init__(self, folder: str, kept: Sequence[str]) -> None:
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        self.folder = folder
        self.free = free(folder)
        if self.free is not None:
            near = [each for each in kept if _device(each) == _device(folder)]
            self.free += unfinished.held(near) + spare.held(near)
        self.needed = 0

    def error(self) -> Error:
        return Error(
            "not enough space on the disk for the new models",
            path=self.folder,
            facts=[("needed", f"{self.needed:,} bytes"), ("free", f"{self.free or 0:,} bytes")],
            hint="free some space, name other folders with --cache and --models, or build fewer at a time",
        )


def _device(folder: str) -> int:
    try:
        return os.stat(folder).st_dev
    except OSError:
        return -1


def _full(needs: Sequence[Need], room: Room) -> dict[str, Error]:
    """The steps whose files do not fit: in the order they are written, the first ones may."""
    models = _Disk(room.folder, room.kept)
    store = models if room.store is None else _Disk(room.store, room.kept)
    if _device(store.folder) == _device(models.folder):
        store = models
    over = {}
    for need in needs:
        disk = store if need.stored else models
        disk.needed += need.disk
        if need.disk and disk.free is not None and disk.needed > disk.free:
            over[need.step] = disk
    errors = {disk: disk.error() for disk in over.values()}
    return {step: errors[disk] for step, disk in over.items()}


def short_of(needs: Sequence[Need], room: Room, files: int = 0) -> dict[str, list[Error]]:
    """What the machine has too little of, by step: space in folders that need not exist yet, memory; and room for so many files."""
    full, available, inodes = _full(needs, room), machine.available(), _inodes(existing(room.folder))
    memory = max((need.memory for need in needs if not need.tool), default=0)
    no_memory = Error(
        "this machine has too little memory for the largest matrix that must be computed in one piece",
        facts=[("needed", f"{memory:,} bytes"), ("available", f"{available or 0:,} bytes")],
        hint="close other programs, or build on a larger machine",
    )
    no_files = Error(
        "the disk has no room for as many more files as the models need: its inodes are used up",
        path=existing(room.folder),
        facts=[("needed", f"{files:,} files"), ("free", f"{inodes or 0:,} files")],
        hint="remove files there that nobody needs, or name other folders with --cache and --models",
    )
    found: dict[str, list[Error]] = {}
    for need in needs:
        if need.step in full:
            found.setdefault(need.step, []).append(full[need.step])
        if available is not None and need.memory > available:
            error = no_memory_for(need.tool, need.memory, available) if need.tool else no_memory
            found.setdefault(need.step, []).append(error)
        if inodes is not None and inodes < files:
            found.setdefault(need.step, []).append(no_files)
    return found


def no_memory_for(tool: str, needed: int, available: int) -> Error:
    """The error for a program of the user's own that takes more memory than there is."""
    return Error(
        f"this machine has too little memory for {tool}",
        facts=[("needed", size(needed)), ("available", size(available))],
        hint="close other programs, or build on a larger machine",
    )


def _inodes(folder: str) -> int | None:
    """How many files can still be made in a folder; None where the file system does not count them."""
    try:
        counted = os.statvfs(folder)
    except OSError:
        return None
    return counted.f_favail if counted.f_files else None
