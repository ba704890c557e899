"""A variant as the planner put it into the graph, read back: its layers, its config, and how its model is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelbuild import steps
from modelbuild.engine.graph import Graph, Output, Step
from modelbuild.tensors import ftypes
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.steps import config, convert, describe, layer, manifest, quantize

ADAPT, CONVERT, DESCRIBE, MERGE, QUANTIZE, TOOL = "adapt", "convert", "describe", "merge", "quantize", "tool"
"""The step kinds whose parameters are read here, by name: most graphs have only some of them."""


class PlannedLayer(NamedTuple):
    """A layer of a variant's manifest, before it is made."""

    media_type: str
    origin: str
    step: Step

    @property
    def kind(self) -> str:
        return self.media_type.rpartition(".")[2]

    def parameters(self) -> layer.Parameters:
        value: layer.Parameters = json.loads(self.step.parameters)
        return value


def layers(graph: Graph, output: Output) -> list[PlannedLayer]:
    """The layers that a variant's manifest will name, in order."""
    step = graph.steps[output.manifest]
    made_by = {role: ref for role, ref in step.inputs if isinstance(ref, str)}
    listed: manifest.Parameters = json.loads(step.parameters)
    return [
        PlannedLayer(media_type, origin, graph.steps[made_by[str(number)]])
        for number, (media_type, origin) in enumerate(listed["layers"])
    ]


def config_of(graph: Graph, output: Output) -> config.Parameters:
    """What a variant's config says as it is given, and which config it is made from."""
    step = graph.steps[next(_needs(graph, output.manifest, "config"))]
    value: config.Parameters = json.loads(step.parameters)
    return value


def recipe_step(graph: Graph, output: Output) -> Step | None:
    """The step that makes the recipe of a variant's model as it is served; None for a model taken from a models folder."""
    return next((graph.steps[ref] for ref in _needs(graph, output.manifest, "config", "recipe")), None)


def _needs(graph: Graph, name: str, *roles: str) -> Iterator[str]:
    for role in roles:
        found = next((ref for r, ref in graph.steps[name].inputs if r == role and isinstance(ref, str)), None)
        if found is None:
            return
        name = found
    yield name


def recipe_steps(graph: Graph, output: Output) -> Iterator[Step]:
    """The steps that make the recipe of a variant's model: from the last back to the one that reads weights."""
    step = recipe_step(graph, output)
    while step is not None:
        yield step
        step = next((graph.steps[name] for name in _needs(graph, step.name, "recipe")), None)


def typing_step(graph: Graph, output: Output) -> Step | None:
    """The step that decides the types of a model's tensors: that of its recipe, or one before it."""
    for step in recipe_steps(graph, output):
        kind = steps.recipe_kind(step.kind)
        if kind is not None and kind.TYPES:
            return step
    return None


def quantization(step: Step | None) -> quantize.Parameters | None:
    """How a step quantizes; None for a step that does not."""
    value: quantize.Parameters | None = json.loads(step.parameters) if step and step.kind == QUANTIZE else None
    return value


def foreign(graph: Graph, output: Output) -> tuple[str, ...]:
    """The programs of the user's own that have a part in a variant, as messages call them."""
    from modelbuild import tools

    named = [
        json.loads(step.parameters)["tool"]
        for step in graph.up_to([output.manifest]).steps.values()
        if step.kind == TOOL
    ]
    return tuple(dict.fromkeys(tools.get(name).TITLE for name in named))


def gate_step(graph: Graph, output: Output) -> Step | None:
    """The step that lets a variant through; None where it is measured by nothing."""
    step = graph.steps[output.manifest]
    return next(
        (graph.steps[ref] for role, ref in step.inputs if role.startswith("gate ") and isinstance(ref, str)), None
    )


def asked_ftype(step: Step | None) -> str | None:
    """The ftype that a step was asked for; None where it gives what its files have."""
    if (asked := quantization(step)) is not None:
        return asked["ftype"]
    if step is None or step.kind != CONVERT:
        return None
    values: convert.Parameters = json.loads(step.parameters)
    return ftypes.canonical(values["outtype"])


def part_type(graph: Graph, step: Step) -> str | None:
    """The type that a part of a checkpoint is converted to, of which a step makes the layer; None for the layer of a file."""
    for name in step.needs:
        if graph.steps[name].kind == CONVERT:
            values: convert.Parameters = json.loads(graph.steps[name].parameters)
            return values["outtype"] if values.get("part") else None
    return None


def metadata(graph: Graph, output: Output) -> dict[str, Any]:
    """The metadata that a variant sets, or a model that it stands on: key -> value."""
    found: dict[str, Any] = {}
    for step in recipe_steps(graph, output):
        if step.kind == DESCRIBE:
            values: describe.Parameters = json.loads(step.parameters)
            found = {**values["metadata"], **found}
    return found
