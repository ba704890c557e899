"""Build the targets, or what the project builds by default.

A TARGET is a model (all its rows), a variant ('chat:q4_K_M'), a name, a group or a glob over them.
What is made already is used again; `build NAME` always means the target, also where a command has its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from modelbuild.build import Options, due
from modelbuild.cli import FAILED, GOOD, Invocation, commands
from modelbuild.errors import Error, Errors, did_you_mean
from modelbuild.graph import Output
from modelbuild.report import because, nothing_to_do, plural
from modelbuild.store import Damaged

if TYPE_CHECKING:
    import click

    from modelbuild.session import Session


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.arguments import Count, targets

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
        from modelbuild.commands import watch as watching

        return watching.run(call, targets, jobs=jobs, keep_going=keep_going, force=force, explain=explain)
    session, report = call.session, call.report
    if not (dry_run or force or report.as_json or report.verbose):
        stamp = session.up_to_date(targets)
        if stamp is not None:
            report.note(nothing_to_do(stamp.models, report.seconds))
            return GOOD
    try:
        outputs = session.select(targets)
    except Errors as errors:
        raise Errors([_or_command(error, *targets[:1]) for error in errors.errors]) from None
    for warning in session.warnings:
        report.warning(warning)
    if dry_run:
        return forecast(call, outputs, explain=explain, force=force)
    options = Options(jobs=jobs or cores(), keep_going=keep_going, force=force, explain=explain)
    steps = len(session.graph.select(outputs).steps)
    with report.building(steps, lambda manifest: _model_size(call, manifest)) as progress:
        try:
            failures = session.build(outputs, options, progress)
        except Error as error:
            failures = [error]
        progress.close(failures)
    return FAILED if failures else GOOD


def _or_command(error: Error, word: str = "") -> Error:
    """Of an unknown first target that is near a command, say so."""
    if error.path or error.hint or not word or f"'{word}'" not in error.what:
        return error
    near = did_you_mean(word, commands())
    return Error(error.what, facts=error.facts, hint=near.replace("mean", "mean the command")) if near else error


def forecast(call: Invocation, outputs: Sequence[Output], *, explain: bool, force: bool = False) -> int:
    """Print what a build would run, with the reasons if `explain`."""
    session, report = call.session, call.report
    graph = session.graph.select(outputs)
    needed_by = graph.targets()
    found = due(graph, session.store, session.sources, session.file, force)
    for step, sure, reasons in found:
        if report.as_json:
            event = {"event": "step", "step": step.name, "kind": step.kind, "targets": needed_by[step.name]}
            event |= {"state": "would-run" if sure else "would-maybe"}
            report.object(event | ({"because": reasons} if explain else {}))
        elif explain:
            report.result("\n".join(because(step.name, reasons, "would run" if sure else "may run")))
        else:
            report.result(f"{'run' if sure else 'maybe':<7}  {step.name}")
    if not found and not report.as_json:
        report.note(_nothing_would_run(session, outputs))
    return GOOD if explain else _models_to_be(call, outputs, {step.name for step, _, _ in found})


def _models_to_be(call: Invocation, outputs: Sequence[Output], running: Collection[str]) -> int:
    """Print the size of each model that would be made, and its tensors' types."""
    from modelbuild.commands import _forecast

    report, graph = call.report, call.session.graph
    made = [output for output in outputs if any(graph.steps[name].pool and name in running for name in output.blobs)]
    forecasts, errors = _forecast.forecast(graph.select(made), made)
    if report.as_json:
        for each in forecasts:
            report.object({"event": "forecast", **each.data()})
    else:
        for line in _forecast.lines(forecasts, report.verbose):
            report.result("\n" + line)
    report.errors(errors, told=True)
    return FAILED if errors else GOOD


def _nothing_would_run(session: Session, outputs: Sequence[Output]) -> str:
    from modelbuild.commands import _standing

    standing = _standing.look_up(session, session.graph.select(outputs))
    missing = [output for output in outputs if _standing.state(session, output, standing) != "yes"]
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
