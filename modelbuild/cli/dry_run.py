"""A build that runs nothing: which steps would run and why, what models it would make, and what would stand against it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.progress import no_work
from modelbuild.cli.sentences import because
from modelbuild.engine.build import SMALL, due
from modelbuild.engine.graph import Graph, Output, Source
from modelbuild.errors import Error
from modelbuild.words import listed, plural

if TYPE_CHECKING:
    from modelbuild.session.session import Session


def forecast(
    call: Invocation, outputs: Sequence[Output], *, explain: bool, models: bool = True, force: bool = False
) -> int:
    """Print what a build would run: with the reasons if `explain`, with the models to be if `models`."""
    session, report = call.session, call.report
    chosen = session.graph.select(outputs)
    # To say why, a build's digests are needed; to say what, no weights are read.
    unread = set() if explain else _weights(session, chosen)
    graph, unreadable = _readable(session, chosen, unread)
    needed_by = graph.targets()
    found = due(graph, session.store, session.sources, session.file, force, unread)
    for step, sure, reasons in found:
        if report.as_json:
            event = {"event": "step", "step": step.name, "kind": step.kind, "targets": needed_by[step.name]}
            event |= {"state": "would-run" if sure else "would-maybe"}
            report.object(event | ({"because": reasons} if explain else {}))
        elif explain:
            report.result("\n".join(because(step.name, reasons, "would run" if sure else "may run")))
        else:
            report.result(f"{'run' if sure else 'maybe':<7}  {step.name}")
    wrong = dict(unreadable)
    if models:
        wrong |= _models_to_be(call, graph, {step.name for step, _, _ in found})
    if not (found or wrong or report.as_json):
        report.note(_nothing_would_run(session, graph.outputs))
    report.errors({id(error): error for errors in wrong.values() for error in errors}.values())
    if report.as_json:
        report.object(no_work(report.seconds, hit=len(graph.steps) - len(found), failed=len(wrong)))
    return FAILED if wrong else GOOD


def _weights(session: Session, graph: Graph) -> set[Source]:
    """The weights files of a graph whose digests are not known; those that cannot be read are none of them."""
    session.sources.prepare(graph.sources())
    unhashed = session.sources.unhashed(graph.sources())
    large = (source for source, size in unhashed if source.form != "bytes" or size > SMALL)
    return {source for source in large if os.access(source.path, os.R_OK)}


def _readable(session: Session, graph: Graph, but: Collection[Source]) -> tuple[Graph, dict[str, list[Error]]]:
    """The part of a graph that needs no unreadable file; and of the steps that read such a file, what is wrong with it.

    Those of `but` are not looked at.
    """
    session.sources.prepare(graph.sources())
    needed_by = graph.targets()
    unread: dict[Source, Error] = {}
    for source in graph.sources():
        if source in but:
            continue
        try:
            session.sources.digest(source)
        except Error as error:
            readers = [step.name for step in graph.steps.values() if source in step.sources]
            labels = dict.fromkeys(label for name in readers for label in needed_by[name])
            needed = ("needed by", listed((f"'{label}'" for label in labels), 5))
            unread[source] = error.replace(facts=[*error.facts, needed])
    wrong: dict[str, list[Error]] = {}
    for step in graph.steps.values():
        for source in step.sources:
            if source in unread:
                wrong.setdefault(step.name, []).append(unread[source])
    refused = {label for name in wrong for label in needed_by[name]}
    return graph.select(output for output in graph.outputs if output.label not in refused), wrong


def _models_to_be(call: Invocation, graph: Graph, running: Collection[str]) -> dict[str, list[Error]]:
    """Print the size of each model that would be made, and its tensors' types; returns what stands against steps."""
    from modelbuild.plan import preflight
    from modelbuild.session.forecast import lines, of_output

    report = call.report
    made = [out for out in graph.outputs if any(graph.steps[name].pool and name in running for name in out.blobs)]
    found = preflight.look(graph.select(made))
    forecasts = [of_output(graph, output, found.recipes) for output in made]
    if report.as_json:
        for each in forecasts:
            report.object({"event": "forecast", **each.data()})
    else:
        for line in lines(forecasts, report.verbose):
            report.result("\n" + line)
    needs = preflight.needs(graph, found.recipes, running)
    wrong = {step: list(errors) for step, errors in found.errors.items()}
    return wrong | preflight.short_of(needs, call.session.models.root)


def _nothing_would_run(session: Session, outputs: Sequence[Output]) -> str:
    from modelbuild.session.standing import look_up, state

    standing = look_up(session, session.graph.select(outputs))
    missing = [output for output in outputs if state(session, output, standing) != "yes"]
    if missing:
        return f"nothing would run: {plural(len(missing), 'model')} would be put into the models folder"
    return f"nothing would run: {plural(len(outputs), 'model')} up to date"
