"""What a build would come to, told from the heads of its files before any work starts: recipes, sizes, and all that would go wrong."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelbuild import steps
from modelbuild.checkpoint import ggufs
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.errors import Error, Errors
from modelbuild.ollama.library import is_blob
from modelbuild.plan import needs
from modelbuild.plan.heads import HeadInputs, Heads
from modelbuild.plan.placed import placed
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe
    from modelbuild.tensors.tensor import Shape


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
    looked = _Look(graph)
    needed_by = graph.targets()
    wrong: dict[tuple[object, ...], tuple[Error, list[Step]]] = {}
    for step in graph.steps.values():
        if wanted is None or step.name in wanted:
            for error in (*looked.try_(step), *looked.unloadable(step)):
                error = placed(error, step)
                key = (error.what, error.place, error.facts, error.hint)
                wrong.setdefault(key, (error, []))[1].append(step)
    errors: dict[str, list[Error]] = {}
    for error, against in wrong.values():
        labels = dict.fromkeys(label for step in against for label in needed_by[step.name])
        told = error.replace(facts=(*error.facts, ("needed by", listed((f"'{label}'" for label in labels), 5))))
        for step in against:
            errors.setdefault(step.name, []).append(told)
    return Findings(looked.recipes, errors, looked.unjudged)


class _Look:
    """What is known of a graph's steps so far."""

    def __init__(self, graph: Graph) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.unjudged: dict[str, str] = {}
        self._graph = graph
        self._heads = Heads()
        self._made: dict[str, bytes] = {}

    def try_(self, step: Step) -> Sequence[Error]:
        """Make a step's recipe, or read the heads of the files it takes as they are. Returns what is wrong."""
        from modelbuild.tensors.recipe import Recipe

        kind = steps.recipe_kind(step.kind)
        try:
            if kind is None:
                for source in step.sources:
                    if source.form != "bytes":
                        self._heads.table(source)
                return []
            inputs = HeadInputs(step, self._heads, self._made)
            if inputs.complete():
                made = kind.look(json.loads(step.parameters), inputs)
                self._made[step.name], self.recipes[step.name] = made, Recipe.decode(made)
        except Errors as several:
            return several.errors
        except Error as error:
            return [error]
        return []

    def unloadable(self, step: Step) -> Sequence[Error]:
        """Why the runtime would not load the file of a model: as it is, or as its recipe has become."""
        from modelbuild.checkpoint import loadable

        weights = self._weights(step)
        if weights is None or steps.module(step.kind).MAKES != "layer":
            return []
        recipe = self.recipes.get(next(step.needs, ""))
        if recipe is not None and ggufs.role(recipe.metadata) != "model":
            return []
        if recipe is None:
            found = self._as_it_is(weights) if weights in step.sources else None
        elif weights.form == "safetensors":
            # The tensors were looked at when the recipe was made; a name may have come later.
            return loadable.named_phi3(recipe.metadata)
        else:
            found = recipe.metadata, {entry.name: entry.shape for entry in recipe.tensors}
        if found is None:
            return []
        metadata, shapes = found
        if (name := loadable.architecture(metadata)) is not None and not loadable.is_known(metadata):
            self.unjudged[weights.path] = name
        return [error.replace(path=weights.path) for error in loadable.faults(metadata, shapes)]

    def _weights(self, step: Step) -> Source | None:
        """The file of weights that a step's result begins with."""
        while (before := next(step.needs, None)) is not None:
            step = self._graph.steps[before]
        return next((source for source in step.sources if source.form != "bytes"), None)

    def _as_it_is(self, source: Source) -> tuple[Mapping[str, bytes], Mapping[str, Shape]] | None:
        """Metadata and shapes of a GGUF file that is a model; None for another one, and for one that a server loads already."""
        if is_blob(source.path):
            return None
        try:
            table = self._heads.table(source)
        except Error:  # told already
            return None
        if ggufs.role(table.metadata) != "model":
            return None
        return table.metadata, {tensor.name: tensor.shape for tensor in table.tensors.values()}


def refuse(graph: Graph, running: Collection[str], folder: str) -> Findings:
    """What stands against the steps that are to run; `folder` is where their files go."""
    findings = look(graph, running)
    needed = needs.of(graph, findings.recipes, running)
    return findings._replace(errors={**findings.errors, **needs.short_of(needed, folder)})
