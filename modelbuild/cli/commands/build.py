"""Build the targets, or the default targets of the project.

A TARGET is a model (all its rows), a variant ('chat:q4_K_M'), a name, a group or a glob over them.
Cached steps are not run again. `build NAME` always means the target, even if a command has the same name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.cli.invocation import FAILED, GOOD, Invocation, commands, cores
from modelbuild.cli.sentences import nothing_to_do
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error, Errors
from modelbuild.words import nearest

if TYPE_CHECKING:
    import click

    from modelbuild.engine.build import BuildOptions
    from modelbuild.session.session import Selection, Session


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
            help="Run N steps at once; default: all cores.",
        ),
        click.Option(
            ["-k", "--keep-going"],
            is_flag=True,
            help="After a failure, build everything that does not need the failed step.",
        ),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Print what would run; run nothing."),
        click.Option(["--force"], is_flag=True, help="Run every step, even if it is cached."),
        click.Option(["--explain"], is_flag=True, help="Say why each step runs."),
        click.Option(["--watch"], is_flag=True, help="Build again on every change, until interrupted."),
    ]


class Request(NamedTuple):
    """What is asked of a build, by the names of its parameters."""

    targets: Sequence[str] = ()
    jobs: int | None = None
    keep_going: bool = False
    dry_run: bool = False
    force: bool = False
    explain: bool = False
    watch: bool = False

    def options(self) -> BuildOptions:
        """How the engine is to build."""
        from modelbuild.engine.build import BuildOptions

        jobs = min(self.jobs or cores(), MOST_JOBS)
        return BuildOptions(jobs=jobs, keep_going=self.keep_going, force=self.force, explain=self.explain)


def run(call: Invocation, **given: Any) -> int:
    asked = Request(**given)
    if asked.watch:
        return _watch(call, asked)
    with call.writing_nothing() if asked.dry_run else nullcontext(call) as used:
        try:
            return _run(used, asked)
        except (Error, Errors) as fault:
            if asked.targets and (misplaced := _foreign(used, asked.targets)):
                raise misplaced from None
            raise fault


def _foreign(call: Invocation, targets: Sequence[str]) -> Error | Errors | None:
    """What to say where the first target is none, but a command of another tool."""
    from modelbuild.cli import foreign

    error = foreign.verb(targets)
    if error is None or not call.has_project:
        return error
    try:
        return error if call.session.words().resolve(targets[0]) is None else None
    except Error as fault:
        return Errors([error, fault])
    except Errors as faults:
        return Errors([error, *faults.errors])


def _run(call: Invocation, asked: Request) -> int:
    session, report = call.session, call.report
    if not (asked.dry_run or asked.force or report.as_json or report.verbose):
        stamp = session.up_to_date(asked.targets)
        if stamp is not None:
            report.note(nothing_to_do(stamp.models, report.seconds))
            return GOOD
    from modelbuild.session import naming

    selection = _select(session, asked.targets)
    for warning in (*session.warnings, *naming.of_build(session, selection.outputs)):
        report.warning(warning)
    if asked.dry_run:
        from modelbuild.cli import dry_run

        return dry_run.forecast(call, selection.outputs, explain=asked.explain, force=asked.force)
    return _build(call, selection, asked.options())


def _watch(call: Invocation, asked: Request) -> int:
    if asked.dry_run:
        raise Error("--dry-run and --watch cannot be used together", hint="leave one of them out")
    from modelbuild.cli.watching import until_interrupted

    return until_interrupted(call, asked.targets, partial(run, **asked._replace(watch=False)._asdict()))


def _select(session: Session, targets: Sequence[str]) -> Selection:
    """What the targets mean. Raises Errors for unknown ones, of which the first may be a command that was misspelled."""
    words = session.words()
    try:
        return session.select(targets)
    except Errors as errors:
        first, *others = errors.errors
        if words.resolve(targets[0]) is None and not first.hint and (near := nearest(targets[0], commands())):
            first = first.replace(hint=f"did you mean the command '{near}'?")
        raise Errors([first, *others]) from None


def _build(call: Invocation, selection: Selection, options: BuildOptions) -> int:
    from modelbuild.cli.progress import Work, no_work
    from modelbuild.cli.terminal import follow
    from modelbuild.session import naming
    from modelbuild.session.building import build

    session, report = call.session, call.report
    session.models.check_apart()
    untagged = naming.newly_untagged(session, selection.outputs)
    steps = len(session.graph.select(selection.outputs).steps)
    names = {output.label: output.names for output in selection.outputs}
    with follow(report, Work(steps, names, lambda manifest: _model_size(call, manifest))) as progress:
        try:
            failures = build(session, selection, options, progress)
        except Error as error:
            failures = [error]
            if report.as_json and progress.summary is None:
                progress(no_work(report.seconds))
        progress.close(failures)
    if not (failures or report.as_json):
        for each in untagged:
            report.note(each.sentence())
    return FAILED if failures else GOOD


def _model_size(call: Invocation, manifest: str) -> int | None:
    """Bytes of everything that a manifest names."""
    try:
        value = json.loads(call.session.store.read(manifest))
        return sum(int(layer["size"]) for layer in (value["config"], *value["layers"]))
    except (Damaged, OSError, ValueError):
        return None
