"""A build that runs nothing: which steps would run and why, which models it would make, and which errors it would have."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from modelbuild import steps
from modelbuild.cli.fetched import not_pulled, show_wanted, waiting, wrong
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.places import here, shown_path
from modelbuild.cli.progress import broken_events, no_work
from modelbuild.cli.sentences import because, forecasts, of_remote, to_come
from modelbuild.cli.tables import hanging
from modelbuild.engine.sources import ALL, BUILD
from modelbuild.project.broken import told
from modelbuild.session import state
from modelbuild.session.forecast import Forecast, Written, files_ahead, look_ahead, models_ahead, without_weights
from modelbuild.session.shared import joined
from modelbuild.session.why import Why
from modelbuild.words import plural, size

if TYPE_CHECKING:
    from modelbuild.cli.report import Report
    from modelbuild.engine.build import Event
    from modelbuild.engine.graph import Source
    from modelbuild.session.session import Selection, Session


def forecast(call: Invocation, selection: Selection, *, explain: bool, models: bool = True, force: bool = False) -> int:
    """Print what a build would run: with the reasons if `explain`, with the models to be if `models`."""
    with joined(call.session, partial(_hear, call.report)):
        return _forecast(call, selection, explain=explain, models=models, force=force)


def _hear(report: Report, event: Event) -> None:
    """Say that the remote cache cannot be asked, or believed. How far an answer has come is nothing to tell."""
    if event["event"] == "remark":
        report.warning(event["remark"])
    elif event["event"] in ("remote-lost", "remote-fault", "unsigned"):
        report.object(event) if report.as_json else report.note(of_remote(event))


def _forecast(call: Invocation, selection: Selection, *, explain: bool, models: bool, force: bool) -> int:
    session, report = call.session, call.report
    broken = wrong(selection.broken)
    if session.outside or len(broken) < len(selection.broken):
        from modelbuild.session import fetching

        show_wanted(report, fetching.wanted(session, selection, force))
    chosen = session.graph.select(selection.outputs)
    # To say why, a build's digests are needed; to say what, no weights are read.
    ahead = look_ahead(session, chosen, ALL if explain else BUILD, forced := chosen.steps if force else ())
    needed_by = ahead.graph.targets()
    why = Why(session, ahead.graph, {step.name: reasons for step, _, reasons in ahead.due})
    for step, sure, reasons in ahead.due:
        if report.as_json:
            event: dict[str, Any] = {
                "event": "step",
                "step": step.name,
                "kind": step.kind,
                "targets": needed_by[step.name],
                "state": "would-run" if sure else "would-maybe",
            }
            if offer := ahead.offers.get(step.name):
                event |= {"state": "would-fetch", "bytes": offer.size}
            event |= {"foreign": True} if steps.is_foreign(step.kind) else {}
            causes = {"because": reasons, "causes": [cause.data() for cause in why.causes(step)]} if explain else {}
            report.object(event | causes)
        elif offer := ahead.offers.get(step.name):
            report.result(hanging(f"{'fetch':<7}  {step.name}  {size(offer.size)}", report.width, 9))
        elif explain:
            name = f"{step.name} (foreign)" if steps.is_foreign(step.kind) else step.name
            lines = because(name, why.causes(step), "would run" if sure else "may run")
            report.result("\n".join(hanging(line, report.width, 4) for line in lines))
        else:
            report.result(hanging(f"{'run' if sure else 'maybe':<7}  {step.name}", report.width, 9))
    against, disk = ahead.wrong | without_weights(session, ahead, forced), 0
    files: list[Written] = []
    if models:
        files = files_ahead(session, ahead, selection)
        _show_files(report, files)
        found = models_ahead(session, ahead)
        against, disk = against | found.wrong, found.disk
        _show(report, found.forecasts)
    of_steps = {id(error): error for errors in against.values() for error in errors}
    if report.as_json:
        for event in broken_events(broken):
            report.object(event)
    _say_unread(session, report, [source for source in ahead.standing.unread if source.is_weights])
    report.errors([*of_steps.values(), *told(broken)])
    if report.as_json:
        report.object(no_work(report.seconds, hit=len(ahead.graph.steps) - len(ahead.due), failed=len(against)))
    elif ahead.due:
        labels = {label for step, _, _ in ahead.due for label in needed_by[step.name]}
        steps_to_run = sum(due.sure for due in ahead.due) - len(ahead.offers)
        report.note(
            to_come(steps_to_run, sum(not due.sure for due in ahead.due), len(labels), disk, ahead.offers.values())
        )
    elif chosen.outputs and not against:
        report.note(_nothing_would_run(session, selection, files))
    _say_awaited(report, selection)
    return FAILED if against or broken else GOOD


def _say_awaited(report: Report, selection: Selection) -> None:
    if (awaited := waiting(selection.broken)) and not report.as_json:
        report.note(not_pulled(awaited))


def _say_unread(session: Session, report: Report, unread: Collection[Source]) -> None:
    """Say that nobody knows what the remote cache has of weights whose digests are not known."""
    cache = session.remote_cache
    if unread and cache.url and cache.mode in ("both", "read") and not report.as_json:
        files, total = plural(len(unread), "weights file"), size(sum(os.path.getsize(each.path) for each in unread))
        are, them = ("is", "it") if len(unread) == 1 else ("are", "them")
        report.note(
            f"{files} ({total}) {are} not read yet: what the remote cache has of {them} is not known; --explain reads {them}"
        )


def _show_files(report: Report, files: Sequence[Written]) -> None:
    """Print which files outside the models folder would be written."""
    for label, path, sure in files:
        if report.as_json:
            state = "would-write" if sure else "would-maybe"
            report.object({"event": "file", "path": path, "label": label, "state": state})
        else:
            shown = shown_path(path, here())
            report.result(hanging(f"{'write' if sure else 'maybe':<7}  {shown}", report.width, 9))


def _show(report: Report, models: Sequence[Forecast]) -> None:
    """Print the size of each model that would be made, and its tensors' types."""
    if report.as_json:
        for each in models:
            report.object({"event": "forecast", **each.data()})
    else:
        for line in forecasts(models, report.verbose, report.width):
            report.result("\n" + line)


def _nothing_would_run(session: Session, selection: Selection, files: Sequence[Written]) -> str:
    outputs = selection.outputs
    if selection.exported is not None:
        return f"nothing to rebuild; {plural(len(files), 'file')} to write" if files else "nothing to rebuild or write"
    standing = session.standing(session.graph.select(outputs))
    missing = [output for output in outputs if state.state(session, output, standing) != "yes"]
    if missing:
        return f"nothing to rebuild; {plural(len(missing), 'model')} to install"
    return f"nothing to rebuild: {plural(len(outputs), 'model')} unchanged"
