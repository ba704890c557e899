"""What a variant's model will be made of, by which steps, and whether it is built."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from modelbuild.engine.graph import Graph, Output, Step
from modelbuild.engine.standing import Standing
from modelbuild.engine.store import Damaged
from modelbuild.ollama.library import Served
from modelbuild.session.session import Session
from modelbuild.tensors import ftypes

if TYPE_CHECKING:
    from modelbuild.project.variant import Variant

State = Literal["yes", "changed", "no"]


def state(session: Session, output: Output, standing: Standing) -> State:
    """Whether a variant is built: under all its names and as it would be now, otherwise than now, or not at all."""
    library = session.models.library
    found = [library.served(name) for name in output.names]
    if not any(found):
        return "no"
    now = standing.results.get(output.manifest)
    complete = all(library.is_whole(each) for each in found if each)
    return "yes" if now and complete and all(each and each.digest == now.artifact for each in found) else "changed"


class PlannedLayer(NamedTuple):
    """A layer of a variant's manifest, before it is made."""

    media_type: str
    origin: str
    step: Step

    @property
    def kind(self) -> str:
        return self.media_type.rpartition(".")[2]

    def parameters(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.step.parameters)
        return value


def layers(graph: Graph, output: Output) -> list[PlannedLayer]:
    """The layers that a variant's manifest will name, in order."""
    step = graph.steps[output.manifest]
    steps = {role: ref for role, ref in step.inputs if isinstance(ref, str)}
    listed = json.loads(step.parameters)["layers"]
    return [PlannedLayer(kind, origin, graph.steps[steps[str(n)]]) for n, (kind, origin) in enumerate(listed)]


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


def typing_step(graph: Graph, output: Output) -> Step | None:
    """The step that decides the types of a model's tensors: that of its recipe, or before those that set metadata alone."""
    step = recipe_step(graph, output)
    while step is not None and step.kind == "describe":
        step = graph.steps[str(dict(step.inputs)["recipe"])]
    return step


def mixed(session: Session, output: Output) -> Variant | None:
    """The variant that names the mix by which a model is quantized: this one, else one that it stands on; None for no mix."""
    step = typing_step(session.graph, output)
    values = json.loads(step.parameters) if step else {}
    if "mix" not in values:
        return None
    mix = {"base": values["ftype"], **values["mix"]}
    found = [variant for variant in session.project.variants if variant.mix == mix]
    return next((variant for variant in found if variant.label == output.label), found[0] if found else None)


def ftype(session: Session, output: Output, found: Served | None) -> str | None:
    """The ftype of a variant's model, or its mix: as it was asked for, else as its config says; None where neither tells."""
    if (variant := mixed(session, output)) is not None:
        return variant.quantize
    step = typing_step(session.graph, output)
    values = json.loads(step.parameters) if step else {}
    asked = values.get("ftype") or ftypes.canonical(str(values.get("outtype")))
    if asked or found is None:
        return asked
    try:
        with open(session.models.library.blob_path(found.manifest.config.digest), "rb") as file:
            named = str(json.loads(file.read()).get("file_type"))
    except (OSError, ValueError, AttributeError):
        return None
    # Ollama has no name for f32: it reads as unknown, so the recipe must tell.
    return ftypes.canonical(named) or _recipe_ftype(session, step)


def _recipe_ftype(session: Session, step: Step | None) -> str | None:
    from modelbuild.tensors.formats import gguf
    from modelbuild.tensors.recipe import Recipe

    if step is None:
        return None
    made = session.standing(session.graph.up_to([step.name])).results.get(step.name)
    if made is None:
        return None
    try:
        value = Recipe.decode(session.store.read(made.artifact)).metadata.get("general.file_type")
    except Damaged:
        return None
    number = gguf.decode_value(value) if value is not None else None
    return next((name for name, known in ftypes.FTYPES.items() if known == number), None)
