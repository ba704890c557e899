"""Say why the steps of the targets would run: what changed since the last build, field by field.

Nothing is run. Sources that were never read are read to know their digests, as a build would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.action import differences
from modelbuild.cli import GOOD, Invocation
from modelbuild.graph import Graph, Source, Step
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
    found = [(step, reasons, sure) for step, reasons, sure in _reasons(session, graph)]
    if report.as_json:
        for step, reasons, sure in found:
            state = "would-run" if sure else "would-maybe"
            report.object(
                {
                    "event": "step",
                    "step": step.name,
                    "kind": step.kind,
                    "state": state,
                    "because": reasons,
                    "targets": needed_by[step.name],
                }
            )
    for step, reasons, sure in [] if report.as_json else found:
        report.result("\n".join(because(step.name, reasons, "would run" if sure else "may run")))
    if not found:
        report.note(f"nothing would run: {plural(len(outputs), 'model')} up to date")
    return GOOD


def _reasons(session: Session, graph: Graph) -> list[tuple[Step, list[Reason], bool]]:
    """(step, why it would run, whether that is sure) for each step that is not made."""
    session.sources.prepare(graph.sources())
    rebuilder = Rebuilder(session.store, session.sources.digest)
    found = []
    for step in graph.steps.values():
        waiting = [(role, ref) for role, ref in step.inputs if isinstance(ref, str) and ref not in rebuilder.results]
        before = session.store.last(session.file, step.name)
        if waiting:
            reasons = [
                {"field": f"input '{role}'", "before": dict(before.inputs).get(role, "none") if before else "none"}
                | {"after": f"what {ref} makes"}
                for role, ref in waiting
            ]
            found.append((step, reasons, False))
            continue
        action = rebuilder.action(step)
        known = rebuilder.known({step: action})
        rebuilder.results.update(known)
        if known:
            continue
        if before is None:
            reasons = [{"field": "step", "before": "never built", "after": "new"}]
        elif changed := differences(before, action):
            files = {role: ref.path for role, ref in step.inputs if isinstance(ref, Source)}
            reasons = [{"field": _field(field, files), "before": old, "after": new} for field, old, new in changed]
        else:
            reasons = [{"field": "artifact", "before": "built", "after": "no longer in the cache"}]
        found.append((step, reasons, True))
    return found


def _field(field: str, files: dict[str, str]) -> str:
    role = field.removeprefix("input '").removesuffix("'")
    return f"input '{role}' ({files[role]})" if field.startswith("input '") and role in files else field
