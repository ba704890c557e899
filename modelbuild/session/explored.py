"""A graph as a page shows it: files, steps and models, how each stands, what it takes, and what is made of what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from modelbuild.engine.graph import Graph, Output, Source
from modelbuild.engine.log import Log
from modelbuild.engine.standing import Standing
from modelbuild.ollama.name import displayed
from modelbuild.plan import planned
from modelbuild.session import shown_inputs, state
from modelbuild.session.session import Selection, Session
from modelbuild.tuples import NamedTuple

MODEL_STATES = {"yes": "built", "changed": "changed", "no": "not built"}


class Node(NamedTuple):
    """A file, a step or a model.

    bytes    of the file, of what the step makes, of all layers of the model
    seconds  of the step, when it was last among the slowest of a build
    at       when the model was last changed by a build, in seconds since 1970
    notes    further lines about it
    """

    kind: str
    name: str
    state: str
    bytes: int | None = None
    seconds: float | None = None
    at: float | None = None
    notes: tuple[str, ...] = ()


class Explored(NamedTuple):
    """Nodes, and by their numbers what is made of what."""

    project: str
    nodes: list[Node]
    edges: list[tuple[int, int]]

    def data(self) -> dict[str, Any]:
        nodes = [
            {key: value for key, value in node._asdict().items() if value not in (None, ())} for node in self.nodes
        ]
        return {"project": self.project, "nodes": nodes, "edges": self.edges}


def explore(session: Session, selection: Selection) -> Explored:
    """See how all of a selection stands. No weights are read. Raises Error."""
    graph = session.graph.select(selection.outputs)
    standing = session.standing(graph)
    seconds, changed = _times(session)
    nodes: list[Node] = []
    edges: list[tuple[int, int]] = []
    number: dict[Source | str, int] = {}
    others = {each.ref: each for step in graph.steps.values() for each in shown_inputs.of(step)}
    for source in graph.sources():
        if source in others and os.path.exists(source.path):
            number[source] = len(nodes)
            shown = os.path.relpath(source.path, session.root)
            name = others[source].label(source.path if shown.startswith("..") else shown)
            nodes.append(Node("file", name, "file", os.stat(source.path).st_size))
    declared = _declared(session, graph)
    for path in dict.fromkeys(path for found in declared.values() for path in found):
        number[path] = len(nodes)
        shown = os.path.relpath(path, session.root)
        nodes.append(Node("file", shown, "file", os.stat(path).st_size if os.path.exists(path) else None))
    for step in graph.steps.values():
        made = standing.results.get(step.name)
        number[step.name] = len(nodes)
        size = made.size if made else None
        nodes.append(
            Node("step", step.name, "cached" if made else "to run", size, seconds.get(step.name), None, (step.kind,))
        )
        refs = dict.fromkeys(ref for _, ref in step.inputs if ref in number)
        edges += [(number[ref], number[step.name]) for ref in (*refs, *declared.get(step.name, ()))]
    for output in graph.outputs:
        edges.append((number[output.manifest], len(nodes)))
        nodes.append(_model(session, output, standing, changed.get(output.label)))
    nodes += _broken(selection)
    return Explored(os.path.basename(session.root), nodes, edges)


def _declared(session: Session, graph: Graph) -> dict[str, dict[str, None]]:
    """By step, the Modelfiles and the ModelBuild.toml that declare what it makes, for the variants that do not inherit it."""
    variants = {variant.label: variant for variant in session.project.variants}
    found: dict[str, dict[str, None]] = {}
    for output in graph.outputs:
        variant = variants[output.label]
        files = [variant.modelfile.path] if variant.modelfile and variant.modelfile.path else []
        files += [variant.table.file] if variant.table.text else []
        layers = [each for each in planned.layers(graph, output) if not each.origin]
        own = [output.manifest, *(each.step.name for each in layers)]
        if any(each.kind == "model" for each in layers):
            own += [step.name for step in planned.recipe_steps(graph, output)]
        for name in own:
            for file in files:
                found.setdefault(name, {})[os.path.join(session.root, file)] = None
    return found


def _model(session: Session, output: Output, standing: Standing, at: float | None) -> Node:
    names = tuple(displayed(name) for name in output.names)
    served = session.models.library.served(output.names[0])
    stands = MODEL_STATES[state.state(session, output, standing)]
    return Node("model", output.label, stands, served.size if served else None, None, at, names)


def _broken(selection: Selection) -> Iterator[Node]:
    for each in selection.broken:
        if each.model:
            stands = "broken" if each.wanted is None else "not pulled"
            yield Node("model", each.label, stands, notes=tuple(str(error) for error in each.errors))


def _times(session: Session) -> tuple[dict[str, float], dict[str, float]]:
    """What steps took last, as far as it is known, and when models were changed last."""
    seconds: dict[str, float] = {}
    changed: dict[str, float] = {}
    for record in Log(session.store.database, session.file).last():
        for each in record["steps"]:
            seconds.setdefault(each["step"], each["seconds"])
        for label in record["changed"]:
            changed.setdefault(label, record["at"])
    return seconds, changed
