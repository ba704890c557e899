"""What a build would come to, told from the heads of its files before any work starts: recipes, sizes, and all that would go wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from modelbuild import steps
from modelbuild.checkpoint import ggufs
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.errors import Error, Errors
from modelbuild.plan.placed import placed
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe
    from modelbuild.tensors.tensor import TensorTable

SMALL_LIMIT = 200_000_000
"""Bytes of a small file of a checkpoint, of which the largest, tokenizer.json, has 35 million in real ones."""


class Findings(NamedTuple):
    """What was seen: the recipes by step, their leaves without digests; and what is wrong, by step."""

    recipes: Mapping[str, Recipe]
    errors: Mapping[str, Sequence[Error]]
    unjudged: Mapping[str, str] = {}
    """Path of a GGUF file -> its architecture, of which we do not know what the runtime asks for."""


def distinct(errors: Mapping[str, Sequence[Error]]) -> list[Error]:
    """Each error once, however many steps it stands against."""
    return list({id(error): error for found in errors.values() for error in found}.values())


def look(graph: Graph, wanted: Collection[str] | None = None) -> Findings:
    """Make the recipes of a graph, or of the `wanted` steps, without reading weights; what is wrong would be wrong in a build."""
    needed_by = graph.targets()
    wrong: dict[tuple[object, ...], tuple[Error, list[Step]]] = {}
    made: dict[str, bytes] = {}
    recipes: dict[str, Recipe] = {}
    heads = Heads()
    unjudged: dict[str, str] = {}
    for step in graph.steps.values():
        if wanted is not None and step.name not in wanted:
            continue
        for error in (
            *_try(step, heads, made, recipes),
            *_unloadable(step, graph, recipes, heads, unjudged),
        ):
            error = placed(error, step)
            key = (error.what, error.place, error.facts, error.hint)
            wrong.setdefault(key, (error, []))[1].append(step)
    errors: dict[str, list[Error]] = {}
    for error, against in wrong.values():
        labels = dict.fromkeys(label for step in against for label in needed_by[step.name])
        told = error.replace(facts=(*error.facts, ("needed by", listed((f"'{label}'" for label in labels), 5))))
        for step in against:
            errors.setdefault(step.name, []).append(told)
    return Findings(recipes, errors, unjudged)


def _try(step: Step, heads: Heads, made: dict[str, bytes], recipes: dict[str, Recipe]) -> Sequence[Error]:
    """Make a step's recipe, or read the heads of the files it takes as they are. Returns what is wrong."""
    from modelbuild.tensors.recipe import Recipe

    kind = steps.recipe_kind(step.kind)
    try:
        if kind is None:
            for source in step.sources:
                if source.form != "bytes":
                    heads.table(source)
            return []
        inputs = HeadInputs(step, heads, made)
        if inputs.complete():
            made[step.name] = kind.look(json.loads(step.parameters), inputs)
            recipes[step.name] = Recipe.decode(made[step.name])
    except Errors as several:
        return several.errors
    except Error as error:
        return [error]
    return []


def _unloadable(
    step: Step, graph: Graph, recipes: Mapping[str, Recipe], heads: Heads, unjudged: dict[str, str]
) -> Sequence[Error]:
    """Why the runtime would not load the file of a model: as it is, or as its recipe has become.

    unjudged  learns of GGUF files of architectures that we do not know
    """
    from modelbuild.checkpoint import runtime, structure

    if steps.module(step.kind).MAKES != "layer":
        return []
    origin, recipe = step, recipes.get(next(step.needs, ""))
    while (before := next(origin.needs, None)) is not None:
        origin = graph.steps[before]
    weights = next((source for source in origin.sources if source.form != "bytes"), None)
    if weights is None or (origin is not step and recipe is None):
        return []
    if recipe is not None and weights.form == "safetensors":
        # The tensors were looked at when the recipe was made; a name may have come later.
        return structure.named_phi3(recipe.metadata)
    if recipe is not None:
        metadata, shapes = recipe.metadata, {entry.name: entry.shape for entry in recipe.tensors}
    elif _is_served(weights.path):
        return []
    else:
        try:
            table = heads.table(weights)
        except Error:  # told already
            return []
        if ggufs.role(table.metadata) != "model":
            return []
        metadata, shapes = table.metadata, {tensor.name: tensor.shape for tensor in table.tensors.values()}
    if (name := runtime.architecture(metadata)) is not None and not runtime.is_known(metadata):
        unjudged[weights.path] = name
    return [error.replace(path=weights.path) for error in runtime.faults(metadata, shapes)]


def _is_served(path: str) -> bool:
    """Whether a file is a blob of a models folder: somebody's server loads it."""
    folder, name = os.path.split(path)
    return os.path.basename(folder) == "blobs" and name.startswith("sha256-")


class Heads:
    """Tensor tables of weights files, each read once and without its weights."""

    def __init__(self) -> None:
        self._tables: dict[Source, TensorTable] = {}
        self._wrong: dict[Source, Error] = {}

    def table(self, source: Source) -> TensorTable:
        """The table of a file. In place of the digest of a tensor's bytes it has words that no other tensor has."""
        if source in self._wrong:
            raise self._wrong[source]
        if source not in self._tables:
            try:
                self._tables[source] = self._read(source)
            except Error as error:
                self._wrong[source] = error
                raise
        return self._tables[source]

    @staticmethod
    def _read(source: Source) -> TensorTable:
        from modelbuild.engine.sources import unreadable
        from modelbuild.tensors.formats import gguf, safetensors
        from modelbuild.tensors.tensor import TensorTable

        path = source.path
        try:
            table = gguf.read_header(path).table if source.form == "gguf" else safetensors.read_header(path)
        except OSError as error:
            raise unreadable(path, error) from error
        named = {name: replace(t, digest=f"unread: {name} of {path}") for name, t in table.tensors.items()}
        return TensorTable(table.metadata, named)


class HeadInputs:
    """What a step that makes a recipe is given here: the project's small files, tables without digests, recipes made of such."""

    def __init__(self, step: Step, heads: Heads, made: Mapping[str, bytes]) -> None:
        self._refs = dict(step.inputs)
        self._heads = heads
        self._made = made

    def complete(self) -> bool:
        """Whether every recipe that the step needs could be made."""
        return all(isinstance(ref, Source) or ref in self._made for ref in self._refs.values())

    def roles(self) -> list[str]:
        return list(self._refs)

    def file(self, role: str) -> bytes | None:
        from modelbuild.engine.sources import unreadable

        ref = self._refs.get(role)
        if not isinstance(ref, Source):
            return None
        try:
            with open(ref.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > SMALL_LIMIT:
                    raise Error(f"is {size:,} bytes long, expected at most {SMALL_LIMIT:,}", input=role)
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(role, error).of_input() from error

    def artifact(self, role: str) -> bytes:
        return self._made[str(self._refs[role])]

    def tables(self) -> list[tuple[str, TensorTable]]:
        from modelbuild.checkpoint import shards

        weights = [(role, ref) for role, ref in self._refs.items() if isinstance(ref, Source) and ref.form != "bytes"]
        return list(shards.bounded((role, self._table(role, ref)) for role, ref in weights))

    def _table(self, role: str, source: Source) -> TensorTable:
        try:
            return self._heads.table(source)
        except Error as error:
            raise error.replace(path=None, input=role) from error


class Need(NamedTuple):
    """What a step takes: bytes on the disk, and bytes of memory for the largest piece that is computed at once."""

    step: str
    disk: int
    memory: int


def needs(graph: Graph, recipes: Mapping[str, Recipe], wanted: Collection[str] | None = None) -> list[Need]:
    """What making the files of these recipes takes, in order; a file that two steps make of equal recipes counts once."""
    from modelbuild.tensors.evaluate import footprint, unit_of
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
        pieces = (footprint(entry.expression, 0, unit_of(entry.expression)) for entry in recipe.tensors)
        found.append(Need(step.name, disk, max(pieces, default=0)))
    return found


def short_of(needs: Sequence[Need], folder: str) -> dict[str, list[Error]]:
    """What the machine has too little of, by step: space in a folder that need not exist yet, memory."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free, available = shutil.disk_usage(folder).free, _memory()
    disk, memory = sum(need.disk for need in needs), max((need.memory for need in needs), default=0)
    no_space = Error(
        "no space left on the disk for the models to be",
        path=folder,
        facts=[("needed", f"{disk:,} bytes"), ("free", f"{free:,} bytes")],
        hint="free some space, name other folders with --cache and --models, or build fewer at a time",
    )
    no_memory = Error(
        "this machine has too little memory for the largest matrix that is computed in one piece",
        facts=[("needed", f"{memory:,} bytes"), ("available", f"{available or 0:,} bytes")],
        hint="end other programs, or build on a larger machine",
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


def refuse(graph: Graph, running: Collection[str], folder: str) -> Findings:
    """What stands against the steps that are to run; `folder` is where their files go."""
    findings = look(graph, running)
    needed = needs(graph, findings.recipes, running)
    return findings._replace(errors={**findings.errors, **short_of(needed, folder)})
