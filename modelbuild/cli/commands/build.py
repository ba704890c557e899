"""Build the targets, or the default targets of the project.

A TARGET is a model (all its rows), a variant ('chat:q4_K_M'), a name, a group or a glob over them; or the path of
a checkpoint folder, a GGUF file or a Modelfile, which is then the whole project.
Cached steps are not run again. `build NAME` always means the target, even if a command has the same name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from modelbuild.cli import idle
from modelbuild.cli.invocation import FAILED, GOOD, WRONG, Invocation, commands
from modelbuild.errors import Error, Errors
from modelbuild.machine import cores
from modelbuild.session.settings import started_in
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed, nearest, plural

if TYPE_CHECKING:
    import click

    from modelbuild.engine.build import BuildOptions, Event
    from modelbuild.engine.graph import Graph
    from modelbuild.session.session import Selection, Session
    from modelbuild.session.stamp import Stamp


MOST_JOBS = 256
"""Threads at most, whatever --jobs says: more would only take memory."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count, targets

    return [
        targets(),
        click.Option(["-j", "--jobs"], type=Count(), metavar="N", help="Run N steps at once; default: all cores."),
        click.Option(
            ["-k", "--keep-going"],
            is_flag=True,
            help="After a failure, build everything that does not need the failed step.",
        ),
        click.Option(
            ["-o", "--output"],
            type=click.Path(),
            metavar="FILE",
            help="Write the GGUF of one variant to FILE, not to the models folder.",
        ),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Print what would run; run nothing."),
        click.Option(["--force"], is_flag=True, help="Run every step, even if it is cached."),
        click.Option(["--explain"], is_flag=True, help="Say why each step runs."),
        click.Option(
            ["--profile"],
            type=click.Path(),
            metavar="FILE",
            help="Write a trace of the build to FILE, for Perfetto or chrome://tracing.",
        ),
        click.Option(
            ["--executor"], metavar="URL", help="Have a cluster run what takes long, such as dask://scheduler:8786."
        ),
        click.Option(["--watch"], is_flag=True, help="Build again on every change, until interrupted."),
        click.Option(
            ["--ollama"],
            metavar="[URL]",
            help="Then send the models to a running Ollama; default: $OLLAMA_HOST, or this machine's.",
        ),
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
    output: str | None = None
    ollama: str | None = None
    profile: str | None = None
    executor: str | None = None

    def options(self) -> BuildOptions:
        """How the engine is to build."""
        from modelbuild.engine.build import BuildOptions

        jobs = min(self.jobs or cores(), MOST_JOBS)
        return BuildOptions(jobs, self.keep_going, self.force, self.explain, self.executor)


def run(call: Invocation, **given: Any) -> int:
    asked = Request(**given)
    if asked.profile is not None:
        from modelbuild.cli.profiled import profiled

        if asked.watch:
            raise Error("--profile and --watch cannot be used together", hint="leave one of them out")
        return profiled(call, asked.profile, lambda: run(call, **asked._replace(profile=None)._asdict()))
    if asked.ollama is not None:
        return _send(call, asked)
    if asked.watch:
        return _watch(call, asked)
    with call.writing_nothing() if asked.dry_run else nullcontext(call) as used:
        try:
            return _run(used, asked)
        except (Error, Errors) as fault:
            from modelbuild.cli import foreign

            raise foreign.misplaced(used, asked.targets) or fault from None


class Rebuild:
    """What a watch does in each of its rounds. Broken models do not stop the others."""

    def __init__(self, asked: Request) -> None:
        self.targets = asked.targets
        self._asked = asked
        self._stamps: list[Stamp] = []

    def select(self, call: Invocation) -> Selection:
        return _select(call, self.targets, _into(call, self._asked.output))

    def edit(self, call: Invocation, among: Collection[str] | None = None) -> Selection | None:
        if self._asked.force:
            return None
        from modelbuild.session import stamps

        into = _into(call, self._asked.output)
        self._stamps = [*stamps.last(call.session, self.targets, into, self._stamps)]
        return _since(call, self.targets, into, self._stamps, among)

    def fetch(self, call: Invocation) -> None:
        from modelbuild.cli.fetched import fetch

        fetch(call, partial(_select, call, self.targets), force=self._asked.force)

    def build(self, call: Invocation, selection: Selection) -> None:
        _warn(call, selection)
        built(call, selection, self._asked.options())


def _run(call: Invocation, asked: Request) -> int:
    into = _into(call, asked.output)
    report = call.report
    if not (asked.dry_run or asked.force or report.as_json or report.verbose):
        edit = _edit(call, asked.targets, into)
        if edit is not None and edit.edit is not None and not (edit.outputs or edit.broken):
            idle.say(report, edit.edit.stamp)
            return GOOD
        if edit is not None:
            return _built_or_refused(call, asked, edit)

    from modelbuild.cli.fetched import wrong

    selection = _fetched(call, asked, _select(call, asked.targets), into)
    if not asked.dry_run:
        return _built_or_refused(call, asked, selection)
    if wrong(selection.broken) and not asked.keep_going:
        return _refuse(call, selection, "would be")
    _warn(call, selection)
    from modelbuild.cli import dry_run

    return dry_run.forecast(call, selection, explain=asked.explain, force=asked.force)


def _built_or_refused(call: Invocation, asked: Request, selection: Selection) -> int:
    if selection.broken and not asked.keep_going:
        return _refuse(call, selection, "was")
    _warn(call, selection)
    return built(call, selection, asked.options())


def _edit(call: Invocation, targets: Sequence[str], into: str | None) -> Selection | None:
    """What changes since the last build of the targets reach, which may be nothing; None where that cannot be told."""
    from modelbuild.session import stamps

    return _since(call, targets, into, stamps.last(call.session, targets, into))


def _since(
    call: Invocation,
    targets: Sequence[str],
    into: str | None,
    stamps: Iterable[Stamp],
    among: Collection[str] | None = None,
) -> Selection | None:
    """What changes of files, or of some of them, since the first of some builds reach of which that can be told."""
    from modelbuild.session.session import Selection
    from modelbuild.session.stamp import Edit

    for stamp in stamps:
        changes = stamp.changes(among)
        if changes is None or (any(changes) and into is not None):
            continue
        if not any(changes) and not stamp.told.broken:
            return Selection(tuple(targets), (), into=into, edit=Edit(stamp, changes))
        from modelbuild.session import edited

        found = edited.selection if any(changes) else edited.standing
        if (selection := found(call.session, targets, stamp, changes)) is not None:
            return selection
    return None


def _warn(call: Invocation, selection: Selection) -> None:
    from modelbuild.cli.places import here, shown_path
    from modelbuild.project.included import left_out_by
    from modelbuild.session import naming

    session, report = call.session, call.report
    for warning in (*session.warnings, *naming.of_build(session, selection.named)):
        report.warning(warning)
    if selection.wanted or any(output.exports for output in selection.outputs):
        from modelbuild.session import exports

        for line in exports.left_out(session, selection):
            report.note_once(line)
    if other := left_out_by(session.file):
        report.note_once(f"{shown_path(other, here())} includes other parts, not this one")
    if report.verbose and (others := [each.label for each in session.broken if each not in selection.broken]):
        report.note(f"broken, and not needed here: {listed(others)}")


def _watch(call: Invocation, asked: Request) -> int:
    if asked.dry_run:
        raise Error("--dry-run and --watch cannot be used together", hint="leave one of them out")
    from modelbuild.cli.watching import until_interrupted

    return until_interrupted(call, Rebuild(asked))


def _send(call: Invocation, asked: Request) -> int:
    """Build, and send what was asked for to a server. One that cannot be reached is found before anything is built."""
    from modelbuild.cli import sending

    for option, given in (
        ("-o", asked.output),
        ("--dry-run", asked.dry_run),
        ("--watch", asked.watch),
        ("--offline", call.settings.offline),
    ):
        if given:
            raise Error(f"--ollama and {option} cannot be used together", hint="leave one of them out")
    chosen = _select(call, asked.targets)
    client = sending.server(asked.ollama or os.environ.get("OLLAMA_HOST", ""))
    selection = _fetched(call, asked, chosen)
    code = GOOD
    if selection.broken and not asked.keep_going:
        return _refuse(call, selection, "was")
    if selection.outputs:
        code = built(call, selection, asked.options(), lambda *_: None)
    if code != GOOD and not asked.keep_going:
        return code
    return max(code, sending.send(call, client, selection.outputs))


def _fetched(call: Invocation, asked: Request, chosen: Selection, into: str | None = None) -> Selection:
    """What the targets mean, once what they need of elsewhere is here; with faults that stop the build, these, and nothing is fetched."""
    from modelbuild.cli.fetched import fetch, wrong

    if (faults := wrong(chosen.broken)) and not asked.keep_going:
        return chosen._replace(broken=faults)
    is_new = not asked.dry_run and fetch(call, partial(_select, call, asked.targets), force=asked.force)
    return _select(call, asked.targets, into) if is_new or into is not None else chosen


def _into(call: Invocation, output: str | None) -> str | None:
    """The absolute path that -o names; one that ends in '/' is a folder, whether or not it is there."""
    if output is None:
        return None
    if output in ("", "-"):
        raise Error("-o expects the name of a file", hint="a GGUF is not written to stdout")
    path = started_in(call.settings.folder, output)
    return os.path.join(path, "") if output.endswith(os.sep) else path


def _select(call: Invocation, targets: Sequence[str], into: str | None = None) -> Selection:
    """What the targets mean. Raises Errors for unknown ones, of which the first may be a command that was misspelled."""
    session = call.session
    words = session.words()
    try:
        if into is None:
            return session.select(targets)
        from modelbuild.session.exporting import one_file

        return one_file(session, targets, into)
    except Errors as errors:
        first, *others = errors.errors
        if targets and words.resolve(targets[0]) is None and not first.hint:
            from modelbuild.cli import paths

            near = nearest(targets[0], commands()) if ":" not in targets[0] else None
            hint = paths.unknown(call, targets[0]) or (f"did you mean the command '{near}'?" if near else None)
            first = first.replace(hint=hint)
        raise Errors([first, *others]) from None


def _refuse(call: Invocation, selection: Selection, verb: str) -> int:
    """Show which targets are broken, before any work begins."""
    from modelbuild.cli.fetched import wrong
    from modelbuild.cli.progress import broken_events
    from modelbuild.project.broken import told

    report = call.report
    if report.as_json:
        for event in broken_events(selection.broken):
            report.object(event)
    report.errors(told(selection.broken))
    if count := selection.edit.stamp.models if selection.edit else len(selection.outputs):
        report.note(f"nothing {verb} built; -k builds the {plural(count, 'model')} that can be built")
    return WRONG if wrong(selection.broken) else FAILED


def say_how_to_run(call: Invocation, selection: Selection, published: Mapping[str, str]) -> None:
    """Where the models are that were put there, name -> manifest, and how to run one."""
    report = call.report
    if not published or report.quiet or report.as_json:
        return
    from modelbuild.cli.afterwards import say

    say(call, selection, published)


End = Callable[[Invocation, "Selection", Mapping[str, str]], None]
"""What is said at the end of a build, of the names that were put into the models folder, each with its manifest."""


def _told_why(session: Session, graph: Graph, options: BuildOptions) -> Callable[[Event], Event]:
    if not options.explain:
        return lambda event: event
    from modelbuild.session.why import explained

    return explained(session, graph)


def built(call: Invocation, selection: Selection, options: BuildOptions, end: End = say_how_to_run) -> int:
    """Build what was selected and show how it goes; returns the exit code."""
    from modelbuild.cli.progress import Work, broken_events, no_work
    from modelbuild.cli.terminal import follow
    from modelbuild.project.broken import told
    from modelbuild.session import naming, shared, variants
    from modelbuild.session.building import build

    session, report = call.session, call.report
    if selection.exported is None:
        session.models.check_apart()
    shared.check(session)
    untagged = naming.newly_untagged(session, selection.named)
    failures: list[Error] = []
    published: dict[str, str] = {}
    names = {output.label: output.names for output in selection.outputs}
    others = selection.edit.stamp.models - len(names) if selection.edit else 0
    graph = session.graph.select(selection.outputs)
    told_why = _told_why(session, graph, options)
    with follow(report, Work(len(graph.steps), names, partial(variants.model_size, session), others)) as progress:

        def hear(event: Event) -> None:
            if event["event"] == "variant" and event["changed"]:
                published[event["name"]] = event["manifest"]
            progress(told_why(event))

        for event in broken_events(selection.broken):
            progress(event)
        if selection.edit and not selection.outputs and (stale := selection.edit.stamp.told.event()):
            progress({"event": "stale", **stale})
        try:
            if selection.outputs or not selection.broken:
                failures = build(session, selection, options, hear)
                if session.outside:
                    from modelbuild.session import pins

                    pins.remember(session, selection.outputs)
        except Error as error:
            failures = [error]
        if progress.summary is None and (report.as_json or selection.broken):
            progress(no_work(report.seconds, hit=selection.edit.stamp.steps if selection.edit else 0))
        failures += told(selection.broken)
        if failures:
            # The names of those that failed come last.
            progress.stop()
            end(call, selection, published)
        progress.close(failures)
    if failures:
        return FAILED
    if untagged and not report.as_json:
        report.warning(naming.untagged_warning(untagged))
    end(call, selection, published)
    return GOOD
