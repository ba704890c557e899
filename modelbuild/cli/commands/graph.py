"""Print which models the targets are based on.

In text, each model comes before its bases: 'chat -> narrator -> ./weights'. --steps prints the steps, each above those
it needs. dot is for Graphviz, mermaid for Markdown pages, json for programs. json has all steps, and also the files that
a step looks for and that do not exist. --html writes a page to explore: states, sizes, times, and what a file reaches.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.places import near_path, shown_path
from modelbuild.cli.sentences import titled
from modelbuild.cli.tables import hanging
from modelbuild.engine.graph import Graph, Source
from modelbuild.ollama.name import displayed
from modelbuild.project.broken import Broken
from modelbuild.tuples import NamedTuple
from modelbuild.words import in_line, plural

if TYPE_CHECKING:
    import click

    from modelbuild.session.lineage import Lineage

FORMATS = ("text", "dot", "mermaid", "json")


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import targets

    return [
        targets(),
        click.Option(["--format", "form"], type=click.Choice(FORMATS), help="How to print it; default: text."),
        click.Option(["--steps", "of_steps"], is_flag=True, help="Print steps and files, not only models."),
        click.Option(
            ["--html"],
            type=click.Path(),
            metavar="FILE",
            help="Write a page to explore, one file that needs no network.",
        ),
    ]


def run(
    call: Invocation,
    targets: Sequence[str] = (),
    form: str | None = None,
    of_steps: bool = False,
    html: str | None = None,
) -> int:
    from modelbuild.session.lineage import Lineage

    if html is not None:
        return _write_page(call, targets, html)
    session, width = call.session, call.report.width
    selection = session.select(targets)
    graph, broken = session.graph.select(selection.outputs), selection.broken
    lineage = Lineage(session.project)
    form = form or ("json" if call.report.as_json else "text")
    if form == "json":
        call.report.data(_json(graph, session.root, lineage, broken))
    elif form == "text":
        lines = [*(_steps(graph, session.root) if of_steps else _models(graph, session.root, lineage))]
        lines += [f"{_names(each)}  {_why(each)}" for each in broken]
        call.report.result("\n".join(hanging(line, width, _indent(line) + 4) for line in lines))
    else:
        nodes = list(
            _nodes_of_steps(graph, session.root) if of_steps else _nodes_of_models(graph, session.root, lineage)
        )
        nodes += [Node("broken", each.label, f"{_names(each)}\n{_why(each)}") for each in broken]
        call.report.result("\n".join((_dot if form == "dot" else _mermaid)(nodes)))
    return GOOD


def _write_page(call: Invocation, targets: Sequence[str], html: str) -> int:
    from modelbuild.cli.pages.graph import page
    from modelbuild.cli.written import checked, write
    from modelbuild.session.explored import explore

    file = checked(os.path.join(call.settings.folder, html), "--html", "graph.html")
    session = call.session
    selection = session.select(targets) if targets else session.everything()
    write(file, page(explore(session, selection).data()), "--html")
    call.report.note(f"wrote {html}")
    return GOOD


def _names(broken: Broken) -> str:
    return titled([name.path() for name in broken.names]) if broken.names else in_line(broken.label)


def _why(broken: Broken) -> str:
    """What it waits for, or the first error, in one line."""
    if broken.wanted is not None:
        return f"not pulled yet: {broken.wanted.name}"
    first, *more = broken.errors
    place = f"{first.place}: " if first.place else ""
    return "broken: " + in_line(f"{place}{first.what}") + (f" (and {plural(len(more), 'more error')})" if more else "")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _models(graph: Graph, root: str, lineage: Lineage) -> Iterator[str]:
    """A line for each model: its base, the base of that, and so on."""
    for output in graph.outputs:
        line, bases = [_label(output.label, lineage, root)], lineage.bases(output.label)
        seen = {output.label}
        while bases and seen.isdisjoint(bases):
            line.append(" + ".join(_label(base, lineage, root) for base in bases))
            seen.update(bases)
            bases = tuple(further for base in bases if base in lineage.variants for further in lineage.bases(base))
        yield " -> ".join(line)


def _label(key: str, lineage: Lineage, root: str) -> str:
    variant = lineage.variants.get(key)
    return titled([name.path() for name in variant.names]) if variant else shown_path(key, root)


def _steps(graph: Graph, root: str) -> Iterator[str]:
    from modelbuild.session import shown_inputs

    told: set[str] = set()

    def tree(name: str, indent: str) -> Iterator[str]:
        again = name in told and any(True for _ in graph.steps[name].inputs)
        yield f"{indent}{name}{'  (above)' if again else ''}"
        if again:
            return
        told.add(name)
        seen: set[str] = set()
        for each in shown_inputs.of(graph.steps[name]):
            if isinstance(each.ref, Source):
                if os.path.exists(each.ref.path):
                    yield f"{indent}  {each.label(shown_path(each.ref.path, root))}"
            elif each.ref not in seen:
                seen.add(each.ref)
                yield from tree(each.ref, indent + "  ")

    for output in graph.outputs:
        yield ", ".join(displayed(name) for name in output.names)
        yield from tree(output.manifest, "  ")


class Node(NamedTuple):
    """Something in a picture, and the arrows from it: (kind, key) of what they point to."""

    kind: str
    key: str
    label: str
    arrows: Sequence[tuple[str, str]] = ()


def _nodes_of_models(graph: Graph, root: str, lineage: Lineage) -> Iterator[Node]:
    """Arrows point from models to what they are based on."""
    chain = {kin.key: kin for output in graph.outputs for kin in lineage.line(output.label)}
    for kin in chain.values():
        arrows = [("model" if base in lineage.variants else "file", base) for base in kin.bases]
        label = _label(kin.key, lineage, root)
        yield Node("model" if kin.key in lineage.variants else "file", kin.key, label, arrows)


def _nodes_of_steps(graph: Graph, root: str) -> Iterator[Node]:
    """Arrows point from what is read to what is made of it: files first, then steps, then models."""
    from modelbuild.session import shown_inputs

    labels: dict[str, str] = {}
    readers: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
    for step in graph.steps.values():
        for each in shown_inputs.of(step):
            key = ("file", each.ref.path) if isinstance(each.ref, Source) else ("step", each.ref)
            readers.setdefault(key, {})[("step", step.name)] = None
            if isinstance(each.ref, Source) and (each.others or each.ref.path not in labels):
                labels[each.ref.path] = each.label(shown_path(each.ref.path, root))
    for output in graph.outputs:
        readers.setdefault(("step", output.manifest), {})[("name", output.label)] = None
    for path, label in labels.items():
        if os.path.exists(path):
            yield Node("file", path, label, list(readers["file", path]))
    for step in graph.steps.values():
        yield Node("step", step.name, step.name, list(readers.get(("step", step.name), ())))
    for output in graph.outputs:
        yield Node("name", output.label, "\n".join(displayed(name) for name in output.names))


def _ids(nodes: Sequence[Node]) -> dict[tuple[str, str], str]:
    """Short ids for names of any spelling."""
    return {(node.kind, node.key): f"{node.kind}{number}" for number, node in enumerate(nodes)}


def _dot(nodes: Sequence[Node]) -> Iterator[str]:
    shapes = {"file": "note", "step": "box", "name": "ellipse", "model": "ellipse", "broken": "octagon"}
    ids = _ids(nodes)
    yield "digraph modelbuild {"
    yield "  rankdir=LR"
    for node in nodes:
        text = json.dumps(node.label, ensure_ascii=False)
        yield f"  {ids[node.kind, node.key]} [shape={shapes[node.kind]}, label={text}]"
    for node in nodes:
        for other in node.arrows:
            yield f"  {ids[node.kind, node.key]} -> {ids[other]}"
    yield "}"


def _mermaid(nodes: Sequence[Node]) -> Iterator[str]:
    brackets = {
        "file": ("[/", "/]"),
        "step": ("[", "]"),
        "name": ("([", "])"),
        "model": ("([", "])"),
        "broken": ("{{", "}}"),
    }
    ids = _ids(nodes)
    yield "flowchart LR"
    for node in nodes:
        opening, closing = brackets[node.kind]
        text = node.label.replace("&", "&amp;").replace('"', "&quot;").replace("\n", "<br>")
        yield f'  {ids[node.kind, node.key]}{opening}"{text}"{closing}'
    for node in nodes:
        for other in node.arrows:
            yield f"  {ids[node.kind, node.key]} --> {ids[other]}"


def _json(graph: Graph, root: str, lineage: Lineage, broken: Sequence[Broken]) -> dict[str, Any]:
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
            "bases": [near_path(base, root) for base in lineage.bases(output.label)],
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
