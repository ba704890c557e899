"""What a build would come to, told from the heads of its files before any work starts: recipes, sizes, and all that would go wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from modelbuild.checkpoint import ggufs
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.errors import Error, Errors
from modelbuild.ollama.library import is_blob
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe
    from modelbuild.tensors.tensor import TensorTable

RECIPES = ("convert", "import", "describe", "quantize")
"""The kinds of steps that make recipes."""

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
            *_ill_named(step, graph, recipes),
            *_unloadable(step, graph, recipes, heads, unjudged),
        ):
            error = _placed(error, step)
            key = (error.what, error.place, error.facts, error.hint)
            wrong.setdefault(key, (error, []))[1].append(step)
    errors: dict[str, list[Error]] = {}
    for error, steps in wrong.values():
        labels = dict.fromkeys(label for step in steps for label in needed_by[step.name])
        error.facts = (*error.facts, ("needed by", listed((f"'{label}'" for label in labels), 5)))
        for step in steps:
            errors.setdefault(step.name, []).append(error)
    return Findings(recipes, errors, unjudged)


def _try(step: Step, heads: Heads, made: dict[str, bytes], recipes: dict[str, Recipe]) -> Sequence[Error]:
    """Make a step's recipe, or read the heads of the files it takes as they are. Returns what is wrong."""
    from modelbuild import steps
    from modelbuild.tensors.recipe import Recipe

    try:
        if step.kind not in RECIPES:
            for _, ref in step.inputs:
                if isinstance(ref, Source) and ref.form != "bytes":
                    heads.table(ref)
            return []
        inputs = Inputs(step, heads, made)
        if not inputs.complete():
            return []
        if step.kind == "convert":
            recipe, faults = _converted(step, inputs)
            if faults or recipe is None:
                return faults
            made[step.name], recipes[step.name] = recipe.encode(), recipe
        else:
            made[step.name] = steps.module(step.kind).run(json.loads(step.parameters), inputs)
            recipes[step.name] = Recipe.decode(made[step.name])
    except Errors as several:
        return several.errors
    except Error as error:
        return [error]
    return []


def _converted(step: Step, inputs: Inputs) -> tuple[Recipe | None, list[Error]]:
    from modelbuild.checkpoint import structure
    from modelbuild.steps.convert import Conversion

    conversion = Conversion(json.loads(step.parameters), inputs)
    if faults := conversion.faults():
        return None, faults
    return conversion.recipe, structure.faults(conversion.entries, conversion.architecture)


def _ill_named(step: Step, graph: Graph, recipes: Mapping[str, Recipe]) -> Sequence[Error]:
    """What is wrong with the name of a converted model, which only its file has for good."""
    from modelbuild.checkpoint import runtime

    source = next(step.needs, "") if step.kind == "layer" else ""
    recipe, made_by = recipes.get(source), graph.steps.get(source)
    while made_by is not None and made_by.kind in ("describe", "quantize"):
        made_by = graph.steps.get(next(made_by.needs, ""))
    if recipe is None or made_by is None or made_by.kind != "convert":
        return []
    return runtime.named_phi3(recipe.metadata)


def _unloadable(
    step: Step, graph: Graph, recipes: Mapping[str, Recipe], heads: Heads, unjudged: dict[str, str]
) -> Sequence[Error]:
    """Why the runtime would not load what becomes of a GGUF file: as it is, with other metadata, or quantized.

    unjudged  learns of files of architectures that we do not know
    """
    from modelbuild.checkpoint import runtime

    if step.kind != "layer":
        return []
    made_by = graph.steps.get(next(step.needs, ""))
    recipe = recipes.get(made_by.name) if made_by is not None else None
    while made_by is not None and made_by.kind in ("describe", "quantize"):
        made_by = graph.steps.get(next(made_by.needs, ""))
    if recipe is not None and made_by is not None and made_by.kind == "import":
        path, metadata = next(made_by.sources).path, recipe.metadata
        shapes = {entry.name: entry.shape for entry in recipe.tensors}
    else:
        source = next((source for source in step.sources if source.form == "gguf"), None)
        if source is None or is_blob(source.path):
            return []
        path = source.path
        try:
            table = heads.table(source)
        except Error:  # told already
            return []
        if ggufs.role(table.metadata) != "model":
            return []
        metadata, shapes = table.metadata, {tensor.name: tensor.shape for tensor in table.tensors.values()}
    if (name := runtime.architecture(metadata)) is not None and not runtime.is_known(metadata):
        unjudged[path] = name
    found = runtime.faults(metadata, shapes)
    return [Error(error.what, path=path, facts=error.facts, hint=error.hint) for error in found]


def _placed(error: Error, step: Step) -> Error:
    """The error with the path of the file it stands in; a step knows its files by their roles alone."""
    from modelbuild.plan import placed

    if (found := placed.placed(error, step)) is not None:
        return found
    sources = {role: ref.path for role, ref in step.inputs if isinstance(ref, Source)}
    path = error.path
    if path and sources and not os.path.isabs(path):
        path = sources.get(path) or os.path.join(os.path.dirname(next(iter(sources.values()))), path)
    if path is None and step.kind == "convert":
        path = os.path.dirname(next(iter(sources.values())))
    return Error(
        error.what,
        path=path,
        line=error.line,
        column=error.column,
        source=error.source,
        width=error.width,
        facts=error.facts,
        hint=error.hint,
    )


class Heads:
    """Tensor tables of weights files, each read once and without its weights."""

    def __init__(self) -> None:
        self._tables: dict[Source, TensorTable] = {}
        self._wrong: dict[Source, Error] = {}

    def table(self, source: Source) -> TensorTable:
        """Where the digest of a tensor's bytes should be, there is its file, a NUL and its name."""
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
        named = {name: replace(t, digest=f"{path}\0{name}") for name, t in table.tensors.items()}
        return TensorTable(table.metadata, named)


class Inputs:
    """What a recipe step is given here: the project's files, tables without digests, recipes made of such."""

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
                    raise Error(f"is {size:,} bytes long, expected at most {SMALL_LIMIT:,}", path=ref.path)
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(ref.path, error) from error

    def artifact(self, role: str) -> bytes:
        return self._made[str(self._refs[role])]

    def tables(self) -> list[tuple[str, TensorTable]]:
        from modelbuild.checkpoint import shards

        weights = [(role, ref) for role, ref in self._refs.items() if isinstance(ref, Source) and ref.form != "bytes"]
        return list(shards.bounded((role, self._heads.table(ref)) for role, ref in weights))


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
        recipe = recipes.get(next(step.needs, "")) if step.kind == "layer" else None
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
