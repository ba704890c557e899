"""What a build would do, and what its models would be: from the heads of weights files, with nothing run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.engine.graph import Graph, Output, Source
from modelbuild.engine.sources import Limit
from modelbuild.engine.standing import Due, due, look_up
from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.session.session import Session
    from modelbuild.tensors.recipe import Recipe


class Forecast(NamedTuple):
    """What a variant's model will be: bytes of its file, and (name, type, shape) of each tensor."""

    label: str
    name: str
    size: int | None
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]

    def counts(self) -> str:
        found = Counter(dtype for _, dtype, _ in self.tensors)
        return ", ".join(f"{count} {dtype}" for dtype, count in found.most_common())

    def data(self) -> dict[str, Any]:
        tensors = [{"name": name, "type": dtype, "shape": shape} for name, dtype, shape in self.tensors]
        return {"label": self.label, "name": self.name, "model_bytes": self.size, "tensors": tensors}


class Ahead(NamedTuple):
    """What a build would do.

    graph  the part of what was asked for that needs no file which cannot be read
    due    the steps of it that would run
    wrong  by step, what is wrong with the files of the others
    """

    graph: Graph
    due: list[Due]
    wrong: dict[str, list[Error]]


def look_ahead(session: Session, graph: Graph, limit: Limit, forced: Container[str] = ()) -> Ahead:
    """See what a build of a graph would do. Files beyond the limit are not read, but for those that cannot be."""
    large = session.sources.beyond(limit, graph.sources())
    unread = {source for source in large if os.access(source.path, os.R_OK)}
    needed_by = graph.targets()
    wrong: dict[Source, Error] = {}
    for source, error in session.sources.read(graph.sources(), but=unread).items():
        readers = [step.name for step in graph.steps.values() if source in step.sources]
        labels = dict.fromkeys(label for name in readers for label in needed_by[name])
        needed = ("used by", listed((f"'{label}'" for label in labels), 5))
        wrong[source] = error.replace(facts=[*error.facts, needed])
    against: dict[str, list[Error]] = {}
    for step in graph.steps.values():
        for source in step.sources:
            if source in wrong:
                against.setdefault(step.name, []).append(wrong[source])
    refused = {label for name in against for label in needed_by[name]}
    part = graph.select(output for output in graph.outputs if output.label not in refused)
    return Ahead(part, due(look_up(part, session.records, unread), session.records, forced), against)


def models_ahead(session: Session, ahead: Ahead) -> tuple[list[Forecast], dict[str, list[Error]]]:
    """The models that a build would make; and by step, what stands against making them."""
    from modelbuild.plan import needs, preflight

    graph, running = ahead.graph, {step.name for step, _, _ in ahead.due}
    made = [out for out in graph.outputs if any(graph.steps[name].pool and name in running for name in out.blobs)]
    found = preflight.look(graph.select(made))
    forecasts = [of_output(graph, output, found.recipes) for output in made]
    needed = needs.of(graph, found.recipes, running)
    wrong = {step: list(errors) for step, errors in found.errors.items()}
    return forecasts, wrong | needs.short_of(needed, session.models.root)


def of_output(graph: Graph, output: Output, recipes: Mapping[str, Recipe]) -> Forecast:
    """The forecast of one variant; `recipes` are those that could be made, by step."""
    from modelbuild.plan import planned
    from modelbuild.tensors.materialize import layout

    name = Name.from_path(output.names[0]).display()
    model = next((layer for layer in planned.layers(graph, output) if layer.kind == "model"), None)
    step = planned.recipe_step(graph, output)
    recipe = recipes.get(step.name) if step else None
    if model is None or recipe is None:
        return Forecast(output.label, name, None, ())
    files = [ref.path for role, ref in model.step.inputs if role == "file" and isinstance(ref, Source)]
    bytes_ = os.stat(files[0]).st_size if files else layout(recipe)[2]
    tensors = tuple((entry.name, entry.expression.dtype, entry.shape) for entry in recipe.tensors)
    return Forecast(output.label, name, bytes_, tensors)
