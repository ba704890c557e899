"""Say why the steps of the targets would run: what changed since the last build, field by field.

Nothing is run. Sources that were never read are read to know their digests, as a build would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.build import reasons
from modelbuild.cli import GOOD, Invocation
from modelbuild.graph import Graph, Step
from modelbuild.rebuilder import Rebuilder
from modelbuild.report import because, plural

if TYPE_CHECKING:
    import click

    from modelbuild.session import Session

Reason = dict[str, str]


def parameters() -> list[click.Parameter]:
    from modelbuild.arguments import targets

    return [targets()]


def run(call: Invocation, targets: Sequence[str] = ()) -> int:
    session, report = call.session, call.report
    outputs = session.select(targets)
    graph = session.graph.select(outputs)
    needed_by = graph.targets()
    found = _steps(session, graph)
    if report.as_json:
        for step, why, sure in found:
            state = "would-run" if sure else "would-maybe"
            report.object(
                {
                    "event": "step",
                    "step": step.name,
                    "kind": step.kind,
                    "state": state,
                    "because": why,
                    "targets": needed_by[step.name],
                }
            )
    for step, why, sure in [] if report.as_json else found:
        report.result("\n".join(because(step.name, why, "would run" if sure else "may run")))
    if not found:
        report.note(f"nothing would run: {plural(len(outputs), 'model')} up to date")
    return GOOD


def _steps(session: Session, graph: Graph) -> list[tuple[Step, list[Reason], bool]]:
    """(step, why it would run, whether that is sure) for each step that is not made."""
    session.sources.prepare(graph.sources())
    rebuilder = Rebuilder(session.store, session.sources.digest)
    found = []
    for step in graph.steps.values():
        waiting = [(role, ref) for role, ref in step.inputs if isinstance(ref, str) and ref not in rebuilder.results]
        before = session.store.last(session.file, step.name)
        if waiting:
            old = dict(before.inputs) if before else {}
            new = [(f"input '{role}' ({ref})", old.get(role, "none"), "to be made") for role, ref in waiting]
            found.append((step, [dict(zip(("field", "before", "after"), each, strict=True)) for each in new], False))
            continue
        action = rebuilder.action(step)
        known = rebuilder.known({step: action})
        rebuilder.results.update(known)
        if known:
            continue
        found.append((step, reasons(step, before, action), True))
    return found
