"""Print the graph of steps that the targets need.

As text each step stands above those it needs; dot is for Graphviz, mermaid for Markdown pages, json for programs. Files
that are not there decide bytes too, by their absence: json names them, the pictures leave them out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.places import near_path
from modelbuild.engine.graph import Graph, Source
from modelbuild.ollama.name import displayed
from modelbuild.project.broken import Broken
from modelbuild.words import plural

if TYPE_CHECKING:
    import click

FORMATS = ("text", "dot", "mermaid", "json")


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import targets

    return [
        targets(),
        click.Option(["--format", "form"], type=click.Choice(FORMATS), help="How to print it; default: text."),
    ]


def run(call: Invocation, targets: Sequence[str] = (), form: str | None = None) -> int:
    session = call.session
    selection = session.select(targets)
    graph = session.graph.select(selection.outputs)
    form = form or ("json" if call.report.as_json else "text")
    if form == "json":
        call.report.data(_json(graph, session.root, selection.broken))
    else:
        printers = {"text": _text, "dot": _dot, "mermaid": _mermaid}
        call.report.result("\n".join(printers[form](graph, session.root, selection.broken)))
    return GOOD


def _why(broken: Broken) -> str:
    """What is broken, and why, in a few words."""
    names = ", ".join(name.display() for name in broken.names or ()) or broken.label
    first, *more = broken.errors
    place = f"{first.place}: " if first.place else ""
    return f"{names}\nbroken: {place}{first.what}" + (f" (and {plural(len(more), 'more error')})" if more else "")


def _text(graph: Graph, root: str, broken: Sequence[Broken]) -> Iterator[str]:
    told: set[str] = set()

    def tree(name: str, indent: str) -> Iterator[str]:
        again = name in told and any(True for _ in graph.steps[name].inputs)
        yield f"{indent}{name}{'  (above)' if again else ''}"
        if again:
            return
        told.add(name)
        seen: set[str] = set()
        for _, ref in graph.steps[name].inputs:
            if isinstance(ref, Source):
                if os.path.exists(ref.path):
                    yield f"{indent}  {near_path(ref.path, root)}"
            elif ref not in seen:
                seen.add(ref)
                yield from tree(ref, indent + "  ")

    for output in graph.outputs:
        yield ", ".join(displayed(name) for name in output.names)
        yield from tree(output.manifest, "  ")
    for each in broken:
        yield _why(each).replace("\n", "\n  ")


class _Nodes:
    """Short ids for names of any spelling."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], str] = {}

    def __call__(self, kind: str, name: str) -> str:
        return self._ids.setdefault((kind, name), f"{kind}{len(self._ids)}")


def _parts(graph: Graph, root: str, broken: Sequence[Broken]) -> Iterator[tuple[str, str, str, list[tuple[str, str]]]]:
    """(kind of node, name, label, nodes it needs): sources first, then steps, then outputs, then what is broken."""
    there = {source.path for source in graph.sources() if os.path.exists(source.path)}
    for source in graph.sources():
        if source.path in there:
            yield "file", source.path, near_path(source.path, root), []
    for step in graph.steps.values():
        needs = [
            ("file", ref.path) if isinstance(ref, Source) else ("step", ref)
            for _, ref in step.inputs
            if not isinstance(ref, Source) or ref.path in there
        ]
        yield "step", step.name, step.name, list(dict.fromkeys(needs))
    for output in graph.outputs:
        yield "name", output.label, "\n".join(displayed(name) for name in output.names), [("step", output.manifest)]
    for each in broken:
        yield "broken", each.label, _why(each), []


def _dot(graph: Graph, root: str, broken: Sequence[Broken]) -> Iterator[str]:
    shapes = {"file": "note", "step": "box", "name": "ellipse", "broken": "octagon"}
    nodes = _Nodes()
    yield "digraph modelbuild {"
    yield "  rankdir=LR"
    for kind, name, label, needs in _parts(graph, root, broken):
        text = json.dumps(label, ensure_ascii=False)
        yield f"  {nodes(kind, name)} [shape={shapes[kind]}, label={text}]"
        for need in needs:
            yield f"  {nodes(*need)} -> {nodes(kind, name)}"
    yield "}"


def _mermaid(graph: Graph, root: str, broken: Sequence[Broken]) -> Iterator[str]:
    brackets = {"file": ("[/", "/]"), "step": ("[", "]"), "name": ("([", "])"), "broken": ("{{", "}}")}
    nodes = _Nodes()
    yield "flowchart LR"
    for kind, name, label, needs in _parts(graph, root, broken):
        opening, closing = brackets[kind]
        text = label.replace("&", "&amp;").replace('"', "&quot;").replace("\n", "<br>")
        yield f'  {nodes(kind, name)}{opening}"{text}"{closing}'
        for need in needs:
            yield f"  {nodes(*need)} --> {nodes(kind, name)}"


def _json(graph: Graph, root: str, broken: Sequence[Broken]) -> dict[str, Any]:
    steps = [
        {
            "step": step.name,
            "kind": step.kind,
            "parameters": json.loads(step.parameters),
            "inputs": [
                {"role": role, "source": near_path(ref.path, root), "exists": os.path.exists(ref.path)}
                if isinstance(ref, Source)
                else {"role": role, "step": ref}
                for role, ref in step.inputs
            ],
        }
        for step in graph.steps.values()
    ]
    variants = [
        {
            "label": output.label,
            "names": [displayed(name) for name in output.names],
            "manifest": output.manifest,
            "blobs": list(output.blobs),
        }
        for output in graph.outputs
    ]
    unbuildable = [
        {
            "label": each.label,
            "names": [name.display() for name in each.names or ()],
            "error": "\n\n".join(map(str, each.errors)),
        }
        for each in broken
    ]
    return {"steps": steps, "variants": variants, "broken": unbuildable}
