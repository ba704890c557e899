"""What of a project stands already: looked up, with nothing run and no large file read for the first time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from modelbuild.engine.action import Action, ActionResult
from modelbuild.engine.graph import Graph, Output, Source, Step
from modelbuild.engine.rebuilder import Rebuilder
from modelbuild.engine.store import Damaged
from modelbuild.ollama.library import Served
from modelbuild.plan import planned
from modelbuild.session.session import Session
from modelbuild.tensors import ftypes

if TYPE_CHECKING:
    from modelbuild.project.variant import Variant

SMALL = 1 << 20
"""Bytes of a file that is read without asking, although the stat cache does not know it."""

State = Literal["yes", "changed", "no"]


class Standing(NamedTuple):
    """By step name: what was made of it before with just these inputs, and the action it is now, where that can be known."""

    results: dict[str, ActionResult]
    actions: dict[str, Action]


def look_up(session: Session, graph: Graph) -> Standing:
    """See which steps of a graph a build would find made."""
    sources = graph.sources()
    session.sources.prepare(sources)
    unread = {source for source, size in session.sources.unhashed(sources) if size > SMALL}
    rebuilder = Rebuilder(session.store, session.sources.digest)
    actions: dict[str, Action] = {}
    for step in graph.steps.values():
        if all(ref not in unread if isinstance(ref, Source) else ref in rebuilder.results for _, ref in step.inputs):
            actions[step.name] = rebuilder.action(step)
            rebuilder.results.update(rebuilder.known({step: actions[step.name]}))
    return Standing(rebuilder.results, actions)


def state(session: Session, output: Output, standing: Standing) -> State:
    """Whether a variant is built: under all its names and as it would be now, otherwise than now, or not at all."""
    library = session.models.library
    found = [library.served(name) for name in output.names]
    if not any(found):
        return "no"
    now = standing.results.get(output.manifest)
    complete = all(library.is_whole(each) for each in found if each)
    return "yes" if now and complete and all(each and each.digest == now.artifact for each in found) else "changed"


def mixed(session: Session, output: Output) -> Variant | None:
    """The variant that names the mix by which a model is quantized: this one, else one that it stands on; None for no mix."""
    asked = planned.quantization(planned.typing_step(session.graph, output))
    if asked is None or (rules := asked.get("mix")) is None:
        return None
    mix = {"base": asked["ftype"], **rules}
    found = [variant for variant in session.project.variants if variant.mix == mix]
    return next((variant for variant in found if variant.label == output.label), found[0] if found else None)


def ftype(session: Session, output: Output, found: Served | None) -> str | None:
    """The ftype of a variant's model, or its mix: as it was asked for, else as its config says; None where neither tells."""
    if (variant := mixed(session, output)) is not None:
        return variant.quantize
    step = planned.typing_step(session.graph, output)
    asked = planned.asked_ftype(step)
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
    made = look_up(session, _up_to(session.graph, [step.name])).results.get(step.name)
    if made is None:
        return None
    try:
        value = Recipe.decode(session.store.read(made.artifact)).metadata.get("general.file_type")
    except Damaged:
        return None
    number = gguf.decode_value(value) if value is not None else None
    return next((name for name, known in ftypes.FTYPES.items() if known == number), None)


def _up_to(graph: Graph, names: Iterable[str]) -> Graph:
    wanted: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(graph.steps[name].needs)
    return Graph(step for name, step in graph.steps.items() if name in wanted)
