"""The result of a build, known from the headers of its files before any step runs: recipes, sizes, and errors."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild import bounded_json, steps, tools
from modelbuild.checkpoint import ggufs
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.errors import Error, Errors
from modelbuild.ollama import manifest as media
from modelbuild.ollama.library import is_blob
from modelbuild.plan import needs
from modelbuild.plan.heads import HeadInputs, Heads
from modelbuild.plan.needs import FileToBe, Room
from modelbuild.plan.placed import placed
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe
    from modelbuild.tensors.tensor import Shape


class Findings(NamedTuple):
    """What was seen: the files to be by the step that makes the recipe; what is wrong and what is doubtful, by step."""

    files: Mapping[str, FileToBe]
    errors: Mapping[str, Sequence[Error]]
    warnings: Mapping[str, Sequence[Error]] = {}
    unjudged: Mapping[str, str] = {}
    """Path of a GGUF file -> its architecture, of which we do not know what the runtime asks for."""
    bytes: Mapping[str, int] = {}
    """Step -> the bytes of the file that it is going to write."""


def distinct(errors: Mapping[str, Sequence[Error]]) -> list[Error]:
    """Each error once, however many steps it stands against."""
    return list({id(error): error for found in errors.values() for error in found}.values())


@bounded_json.uncollected()
def look(graph: Graph, wanted: Collection[str] | None = None) -> Findings:
    """Make the recipes of a graph, or of the `wanted` steps, without reading weights; what is wrong would be wrong in a build."""
    looked = _Look(graph)
    wrong, doubtful = _Gathered(graph), _Gathered(graph)
    # What is made already stands in no one's way, but others are told from it.
    recipes = [name for name in wanted or () if steps.recipe_kind(graph.steps[name].kind) or _joins(graph.steps[name])]
    before = graph.up_to(recipes).steps.keys() - (wanted or ())
    for step in graph.steps.values():
        if step.name in before:
            looked.try_(step)
        elif wanted is None or step.name in wanted:
            errors, warnings = looked.try_(step)
            wrong.add(step, [*errors, *looked.unloadable(step), *looked.misfits(step), *looked.unread(step)])
            doubtful.add(step, warnings)
        looked.forget(step)
    return Findings(looked.files, wrong.by_step(), doubtful.by_step(), looked.unjudged)


def _joins(step: Step) -> bool:
    """Whether a step puts adapters or a draft beside a model, which have to fit its tensors, or has a tool read the model."""
    if steps.is_foreign(step.kind):
        return any(role.startswith(f"{tools.MODEL}/") for role, _ in step.inputs)
    if steps.module(step.kind).MAKES != "manifest":
        return False
    return any(kind in (media.ADAPTER, media.DRAFT) for kind, _ in json.loads(step.parameters)["layers"])


class _Gathered:
    """Errors or warnings by step, each told once of all that need the steps."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._found: dict[tuple[object, ...], tuple[Error, list[Step]]] = {}

    def add(self, step: Step, errors: Sequence[Error]) -> None:
        for error in errors:
            error = placed(error, step)
            key = (error.what, error.place, error.facts, error.hint)
            self._found.setdefault(key, (error, []))[1].append(step)

    def by_step(self) -> dict[str, list[Error]]:
        told: dict[str, list[Error]] = {}
        needed_by = self._graph.targets() if self._found else {}
        for error, against in self._found.values():
            labels = dict.fromkeys(label for step in against for label in needed_by[step.name])
            needed = ("used by", listed((f"'{label}'" for label in labels), 5))
            error = error.replace(facts=(*error.facts, needed))
            for step in against:
                told.setdefault(step.name, []).append(error)
        return told


class _Look:
    """What is known of a graph's steps so far. A recipe is kept for as long as a step may ask for it, since large ones are many."""

    def __init__(self, graph: Graph) -> None:
        self.files: dict[str, FileToBe] = {}
        self.unjudged: dict[str, str] = {}
        self._graph = graph
        self._heads = Heads()
        self._recipes: dict[str, Recipe] = {}
        self._asked = Counter(name for step in graph.steps.values() for name in step.needs)

    def _look_at_heads(self, step: Step) -> None:
        """Raise Error where a weights file of a step that is here is none."""
        for source in step.sources:
            if source.is_weights and not source.is_away():
                self._heads.table(source)

    def try_(self, step: Step) -> tuple[Sequence[Error], Sequence[Error]]:
        """Make a step's recipe, or read the heads of the files it takes as they are. Returns what is wrong, and what is doubtful."""
        kind = steps.recipe_kind(step.kind)
        # Removed since what was made of it: a build that needs it fetches it first.
        is_away = any(source.is_away() for source in step.sources)
        try:
            if kind is None or is_away:
                self._look_at_heads(step)
                return [], []
            inputs = HeadInputs(step, self._heads, self._recipes)
            parameters = json.loads(step.parameters)
            if not inputs.complete() and step.kind == "quantize":
                return self._without_importance(step, kind, parameters)
            if inputs.complete():
                recipe, warnings = kind.look(parameters, inputs)
                self._recipes[step.name] = recipe
                self.files[step.name] = FileToBe.of(recipe)
                return [], warnings
            self._look_at_heads(step)
        except Errors as several:
            return several.errors, []
        except Error as error:
            return [self._of_file(error, step)], []
        return [], []

    def _without_importance(
        self, step: Step, kind: steps.RecipeKind, parameters: dict[str, Any]
    ) -> tuple[Sequence[Error], Sequence[Error]]:
        """See how large a file will be whose importance matrix is yet to be made: that says nothing of what is wrong with it."""
        inputs = HeadInputs(
            step._replace(inputs=tuple(each for each in step.inputs if each[0] != "made")), self._heads, self._recipes
        )
        parameters.pop("imatrix", None)
        with contextlib.suppress(Error, Errors):
            if inputs.complete():
                recipe, _ = kind.look(parameters, inputs)
                self.files[step.name] = FileToBe.of(recipe)
        return [], []

    def _of_file(self, error: Error, step: Step) -> Error:
        """What a step says that knows no file is about the one that its recipe comes from."""
        own = next((source for source in step.sources if source.form != "bytes"), None)
        weights = own or self._weights(step)
        if error.place or weights is None or weights.form != "gguf":
            return error
        return error.replace(path=weights.path)

    def forget(self, step: Step) -> None:
        """Let go of the recipes that no step after this one asks for."""
        needs = [*step.needs]
        for name in needs:
            self._asked[name] -= 1
        for name in (step.name, *needs):
            if self._asked[name] <= 0:
                self._recipes.pop(name, None)

    def misfits(self, step: Step) -> Sequence[Error]:
        """What is wrong with the adapters beside a model that are taken as they are."""
        from modelbuild.plan import beside

        if steps.module(step.kind).MAKES != "manifest":
            return []
        try:
            return list(beside.misfits(step, self._graph, self._heads.table, self._shapes))
        except Error:  # told already, of the file
            return []

    def unread(self, step: Step) -> Sequence[Error]:
        """Why a tool could not read the model that it is given."""
        model = dict(step.inputs).get(f"{tools.MODEL}/model.gguf") if steps.is_foreign(step.kind) else None
        file = self.files.get(next(self._graph.steps[model].needs, "")) if isinstance(model, str) else None
        error = tools.encoder(json.loads(step.parameters)["tool"], file.architecture) if file is not None else None
        weights = self._weights(step)
        if error is None or weights is None:
            return [error] if error else []
        return [error.replace(path=os.path.dirname(weights.path) if weights.form == "safetensors" else weights.path)]

    def _shapes(self, recipe: str) -> Mapping[str, Shape] | None:
        file = self.files.get(recipe)
        return dict(zip(file.names, file.shapes, strict=True)) if file is not None else None

    def unloadable(self, step: Step) -> Sequence[Error]:
        """Why the runtime would not load the file of a model: as it is, or as its recipe has become."""
        from modelbuild.checkpoint import loadable

        weights = self._weights(step)
        if weights is None or steps.module(step.kind).MAKES != "layer":
            return []
        recipe = self._recipes.get(next(step.needs, ""))
        if recipe is not None and ggufs.role(recipe.metadata) != "model":
            return []
        if recipe is None:
            found = self._as_it_is(weights) if weights in step.sources else None
        elif weights.form == "safetensors":
            # The tensors were looked at when the recipe was made; a name may have come later.
            return loadable.named_phi3(recipe.metadata)
        else:
            found = recipe.metadata, [(entry.name, entry.shape, entry.expression.dtype) for entry in recipe.tensors]
        if found is None:
            return []
        metadata, tensors = found
        if (name := loadable.architecture(metadata)) is not None and not loadable.is_known(metadata):
            self.unjudged[weights.path] = name
        wrong = loadable.faults(metadata, {name: shape for name, shape, _ in tensors})
        wrong += loadable.codes(metadata, {name: dtype for name, shape, dtype in tensors if len(shape) > 1})
        return [error.replace(path=weights.path) for error in wrong]

    def _weights(self, step: Step) -> Source | None:
        """The file of weights that a step's result begins with."""
        while (before := next(step.needs, None)) is not None:
            step = self._graph.steps[before]
        return next((source for source in step.sources if source.form != "bytes"), None)

    def _as_it_is(self, source: Source) -> tuple[Mapping[str, bytes], list[tuple[str, Shape, str]]] | None:
        """Metadata of a GGUF file that is a model, and name, shape and dtype of its tensors; None for any other.

        One that a server loads already is not judged.
        """
        if is_blob(source.path):
            return None
        try:
            table = self._heads.table(source)
        except Error:  # told already
            return None
        if ggufs.role(table.metadata) != "model":
            return None
        return table.metadata, [(tensor.name, tensor.shape, tensor.dtype) for tensor in table.tensors.values()]


def refuse(graph: Graph, running: Collection[str], room: Room) -> Findings:
    """What stands against the steps that are to run; `room` is where their files go."""
    return short(look(graph, running), graph, running, room)


def short(findings: Findings, graph: Graph, running: Collection[str], room: Room) -> Findings:
    """The findings with what the machine has too little of for the steps that are to run."""
    needed = needs.of(graph, findings.files, running, room.folder)
    lacking = needs.short_of(needed, room, files=len(running))
    errors = {step: [*findings.errors.get(step, ()), *lacking.get(step, ())] for step in {**findings.errors, **lacking}}
    return findings._replace(errors=errors, bytes={need.step: need.disk for need in needed if need.disk})
