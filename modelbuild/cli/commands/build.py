"""Build the targets, or what the project builds by default.

A TARGET is a model (all its rows), a variant ('chat:q4_K_M'), a name, a group or a glob over them.
What is made already is used again; `build NAME` always means the target, also where a command has its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import FAILED, GOOD, Invocation, commands
from modelbuild.cli.report import because, nothing_to_do
from modelbuild.engine.build import BuildOptions
from modelbuild.engine.graph import Graph, Output, Source
from modelbuild.engine.sources import BUILD
from modelbuild.engine.standing import due, look_up
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error, Errors
from modelbuild.words import did_you_mean, listed, plural

if TYPE_CHECKING:
    import click

    from modelbuild.cli.report import Report
    from modelbuild.session.session import Session


MOST_JOBS = 256
"""Threads at most, whatever --jobs says: more would only take memory."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count, targets

    return [
        targets(),
        click.Option(
            ["-j", "--jobs"],
            type=Count(),
            metavar="N",
            help="Run N at once; default: all cores.",
        ),
        click.Option(
            ["-k", "--keep-going"], is_flag=True, help="After a failure, build what doesn't need the failed step."
        ),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Print what would run, and run nothing."),
        click.Option(["--force"], is_flag=True, help="Run every step, whatever is made already."),
        click.Option(["--explain"], is_flag=True, help="Say of each step that runs what changed."),
        click.Option(["--watch"], is_flag=True, help="Build again on every change, until interrupted."),
    ]


def run(
    call: Invocation,
    targets: Sequence[str] = (),
    jobs: int | None = None,
    keep_going: bool = False,
    dry_run: bool = False,
    force: bool = False,
    explain: bool = False,
    watch: bool = False,
) -> int:
    if watch:
        if dry_run:
            raise Error("--dry-run and --watch do not go together", hint="leave one of them out")
        from modelbuild.cli.watching import until_interrupted

        again = partial(run, targets=targets, jobs=jobs, keep_going=keep_going, force=force, explain=explain)
        return until_interrupted(call, targets, again)
    session, report = call.session, call.report
    if not (dry_run or force or report.as_json or report.verbose):
        stamp = session.up_to_date(targets)
        if stamp is not None:
            report.note(nothing_to_do(stamp.models, report.seconds))
            return GOOD
    words = session.words()
    try:
        selection = session.select(targets)
    except Errors as errors:
        first, *others = errors.errors
        if words.resolve(targets[0]) is None:
            first = _or_command(first, targets[0])
        raise Errors([first, *others]) from None
    for warning in session.warnings:
        report.warning(warning)
    if dry_run:
        return forecast(call, selection.outputs, explain=explain, force=force)
    options = BuildOptions(jobs=min(jobs or cores(), MOST_JOBS), keep_going=keep_going, force=force, explain=explain)
    steps = len(session.graph.select(selection.outputs).steps)
    with report.building(steps, lambda manifest: _model_size(call, manifest)) as progress:
        try:
            failures = session.build(selection, options, progress)
        except Error as error:
            failures = [error]
            if report.as_json and progress.summary is None:
                progress(_no_work(report))
        progress.close(failures)
    return FAILED if failures else GOOD


def _or_command(error: Error, word: str) -> Error:
    """Of an unknown first target that is near a command, say so."""
    near = None if error.hint else did_you_mean(word, commands())
    return Error(error.what, facts=error.facts, hint=near.replace("mean", "mean the command")) if near else error


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
    standing = look_up(graph, session.cache, session.sources, unread)
    found = due(standing, session.cache, session.history, forced=graph.steps if force else ())
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
        report.object(_no_work(report, hit=len(graph.steps) - len(found), failed=len(wrong)))
    return FAILED if wrong else GOOD


def _weights(session: Session, graph: Graph) -> set[Source]:
    """The weights files of a graph whose digests are not known; those that cannot be read are none of them."""
    large = session.sources.beyond(BUILD, graph.sources())
    return {source for source in large if os.access(source.path, os.R_OK)}


def _readable(session: Session, graph: Graph, but: Collection[Source]) -> tuple[Graph, dict[str, list[Error]]]:
    """The part of a graph that needs no unreadable file; and of the steps that read such a file, what is wrong with it.

    Those of `but` are not looked at.
    """
    session.sources.prepare(graph.sources())
    unread = session.sources.read(graph.sources(), but)
    needed_by = graph.targets()
    wrong: dict[str, list[Error]] = {}
    labels: dict[Source, dict[str, None]] = {}
    for step in graph.steps.values():
        for source in step.sources:
            if source in unread:
                wrong.setdefault(step.name, []).append(unread[source])
                labels.setdefault(source, {}).update(dict.fromkeys(needed_by[step.name]))
    for source, found in labels.items():
        unread[source].facts = (*unread[source].facts, ("needed by", listed((f"'{each}'" for each in found), 5)))
    refused = {label for name in wrong for label in needed_by[name]}
    return graph.select(output for output in graph.outputs if output.label not in refused), wrong


def _models_to_be(call: Invocation, graph: Graph, running: Collection[str]) -> dict[str, list[Error]]:
    """Print the size of each model that would be made, and its tensors' types; returns what stands against steps."""
    from modelbuild.plan import preflight
    from modelbuild.session import forecast as _forecast

    report = call.report
    made = [out for out in graph.outputs if any(graph.steps[name].pool and name in running for name in out.blobs)]
    found = preflight.look(graph.select(made))
    forecasts = [_forecast.of_output(graph, output, found.recipes) for output in made]
    if report.as_json:
        for each in forecasts:
            report.object({"event": "forecast", **each.data()})
    else:
        for line in _forecast.lines(forecasts, report.verbose):
            report.result("\n" + line)
    needs = preflight.needs(graph, found.recipes, running)
    wrong = {step: list(errors) for step, errors in found.errors.items()}
    return wrong | preflight.short_of(needs, call.session.models.root)


def _no_work(report: Report, *, hit: int = 0, failed: int = 0) -> dict[str, Any]:
    """The summary where nothing was run."""
    counts = {"ran": 0, "hit": hit, "failed": failed, "skipped": 0}
    work = {"tensors_computed": 0, "tensors_reused": 0, "bytes_written": 0}
    return {"event": "summary", **counts, **work, "seconds": round(report.seconds, 4)}


def _nothing_would_run(session: Session, outputs: Sequence[Output]) -> str:
    from modelbuild.session import variants

    standing = session.standing(session.graph.select(outputs))
    missing = [output for output in outputs if variants.state(session, output, standing) != "yes"]
    if missing:
        return f"nothing would run: {plural(len(missing), 'model')} would be put into the models folder"
    return f"nothing would run: {plural(len(outputs), 'model')} up to date"


def _model_size(call: Invocation, manifest: str) -> int | None:
    """Bytes of everything that a manifest names."""
    try:
        value = json.loads(call.session.store.read(manifest))
        return sum(int(layer["size"]) for layer in (value["config"], *value["layers"]))
    except (Damaged, OSError, ValueError):
        return None


def cores() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
