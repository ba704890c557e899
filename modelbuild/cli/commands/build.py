"""Build the targets, or what the project builds by default.

A TARGET is a model (all its rows), a variant ('chat:q4_K_M'), a name, a group or a glob over them.
What is made already is used again; `build NAME` always means the target, also where a command has its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import FAILED, GOOD, Invocation, commands
from modelbuild.cli.report import because, nothing_to_do
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error, Errors
from modelbuild.words import did_you_mean, plural

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
    from modelbuild.engine.build import BuildOptions
    from modelbuild.session.building import build

    options = BuildOptions(jobs=min(jobs or cores(), MOST_JOBS), keep_going=keep_going, force=force, explain=explain)
    steps = len(session.graph.select(selection.outputs).steps)
    with report.building(steps, lambda manifest: _model_size(call, manifest)) as progress:
        try:
            failures = build(session, selection, options, progress)
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
    from modelbuild.cli.forecasts import lines
    from modelbuild.engine.sources import ALL, BUILD
    from modelbuild.session.forecast import look_ahead, models_ahead

    session, report = call.session, call.report
    chosen = session.graph.select(outputs)
    # To say why, a build's digests are needed; to say what, no weights are read.
    ahead = look_ahead(session, chosen, ALL if explain else BUILD, forced=chosen.steps if force else ())
    needed_by = ahead.graph.targets()
    for step, sure, reasons in ahead.due:
        if report.as_json:
            event = {"event": "step", "step": step.name, "kind": step.kind, "targets": needed_by[step.name]}
            event |= {"state": "would-run" if sure else "would-maybe"}
            report.object(event | ({"because": reasons} if explain else {}))
        elif explain:
            report.result("\n".join(because(step.name, reasons, "would run" if sure else "may run")))
        else:
            report.result(f"{'run' if sure else 'maybe':<7}  {step.name}")
    wrong = dict(ahead.wrong)
    if models:
        forecasts, against = models_ahead(session, ahead)
        wrong |= against
        if report.as_json:
            for each in forecasts:
                report.object({"event": "forecast", **each.data()})
        else:
            for line in lines(forecasts, report.verbose):
                report.result("\n" + line)
    if not (ahead.due or wrong or report.as_json):
        report.note(_nothing_would_run(session, ahead.graph.outputs))
    report.errors({id(error): error for errors in wrong.values() for error in errors}.values())
    if report.as_json:
        report.object(_no_work(report, hit=len(ahead.graph.steps) - len(ahead.due), failed=len(wrong)))
    return FAILED if wrong else GOOD


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
