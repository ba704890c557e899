"""Say why the models of the targets would be built, or were.

Names what changed since the last build, with its file and line. If nothing would be built, tells what the last build
that changed one of these models was for. With -v (before the command) step by step. No step runs. New and changed
sources are read for their digests, as in a build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelbuild import steps
from modelbuild.cli.dry_run import forecast
from modelbuild.cli.fetched import show_wanted, waiting, wrong
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.sentences import caused, titled
from modelbuild.cli.tables import hanging
from modelbuild.engine.graph import Output
from modelbuild.engine.sources import ALL
from modelbuild.project.broken import told
from modelbuild.words import listed, plural

if TYPE_CHECKING:
    import click

    from modelbuild.session.forecast import Ahead
    from modelbuild.session.session import Selection, Session
    from modelbuild.session.why import Cause

SLACK = 0.1
"""Seconds between two clocks."""
NAMED = 4
"""Models of one cause that are named."""


_OF_SEVERAL = {
    "it was never built": "they were never built",
    "nothing is recorded of how it was built": "nothing is recorded of how they were built",
}


def parameters() -> list[click.Parameter]:
    from modelbuild.cli.kinds import targets

    return [targets()]


def run(call: Invocation, targets: Sequence[str] = ()) -> int:
    selection = call.session.select(targets)
    if call.report.as_json or call.report.verbose:
        if call.report.as_json:
            _events(call, selection)
        code = forecast(call, selection, explain=True, models=False)
        return FAILED if wrong(selection.broken) else code
    return _models(call, selection)


def _models(call: Invocation, selection: Selection) -> int:
    """Why each model would be built; models of the same causes together."""
    from modelbuild.engine.standing import changed
    from modelbuild.session.forecast import look_ahead
    from modelbuild.session.why import Why

    session, report = call.session, call.report
    broken = wrong(selection.broken)
    if session.outside or len(broken) < len(selection.broken):
        from modelbuild.session import fetching

        show_wanted(report, fetching.wanted(session, selection, False))
    ahead = look_ahead(session, session.graph.select(selection.outputs), ALL)
    reasons = changed(ahead.standing, session.records)
    due = {step.name: because for step, _, because in ahead.due}
    why = Why(session, ahead.graph, {**reasons, **due})
    needed = ahead.graph.targets()
    running = {label for name in due for label in needed[name]}
    stale = {output.label: _uninstalled(session, output, ahead) for output in ahead.graph.outputs}
    for output in ahead.graph.outputs:
        if output.manifest in reasons and output.label not in running:
            # All of it was made before, as after a revert.
            running.add(output.label)
    short = {each.label: cause for each in ahead.graph.outputs if each.label in running and (cause := why.short(each))}
    due_now = [each for each in ahead.graph.outputs if each.label in running and each.label not in short]
    _say(call, due_now, why.roots, "would be built")
    kept_back = [each for each in ahead.graph.outputs if each.label in short]
    _say(call, kept_back, lambda each: [short[each.label]], "is not built")
    others = [each for each in ahead.graph.outputs if each.label not in running]
    for output in others:
        if missing := stale[output.label]:
            report.result(f"{titled(output.names)} would be installed because\n  " + "\n  ".join(missing))
    _say_foreign(call, ahead.graph.outputs)
    report.errors([*{id(each): each for errors in ahead.wrong.values() for each in errors}.values(), *told(broken)])
    if not running and not ahead.wrong and not any(stale.values()):
        _before(call, ahead)
    elif same := sum(not stale[each.label] for each in others):
        report.note(f"{plural(same, 'model')} unchanged")
    if awaited := waiting(selection.broken):
        from modelbuild.cli.fetched import not_pulled

        report.note(not_pulled(awaited))
    return FAILED if ahead.wrong or broken else GOOD


def _say(
    call: Invocation, outputs: Iterable[Output], roots: Callable[[Output], Sequence[Cause]], doing: str, left: str = ""
) -> None:
    by_causes: dict[tuple[str, ...], list[Output]] = {}
    for output in outputs:
        causes = tuple(dict.fromkeys(map(caused, roots(output)))) or ((left,) if left else ())
        if causes:
            by_causes.setdefault(causes, []).append(output)
    for number, (causes, found) in enumerate(by_causes.items()):
        names = [titled(output.names) for output in found[:NAMED]]
        more = len(found) - len(names)
        subject = listed(names) + (f" and {more} more" if more else "")
        verb = doing if len(found) == 1 else doing.replace("was ", "were ").replace("is ", "are ")
        told = causes if len(found) == 1 else [_OF_SEVERAL.get(cause, cause) for cause in causes]
        lines = [f"{subject} {verb} because", *(f"  {cause}" for cause in told)]
        text = "\n".join(hanging(line, call.report.width, 4) for line in lines)
        call.report.result(("\n" if number else "") + text)


def _say_foreign(call: Invocation, outputs: Sequence[Output]) -> None:
    """Name the models that programs of the user's own have a part in, by these programs."""
    from modelbuild.plan.planned import foreign

    made: dict[tuple[str, ...], list[str]] = {}
    for output in outputs:
        if titles := foreign(call.session.graph, output):
            made.setdefault(titles, []).append(titled(output.names))
    for titles, names in made.items():
        named = listed(names, NAMED)
        call.report.note(f"foreign: {named} {'is' if len(names) == 1 else 'are'} made with {listed(titles)} of [tools]")


def _uninstalled(session: Session, output: Output, ahead: Ahead) -> list[str]:
    """What of a model that is made is not where a build puts it."""
    from modelbuild.ollama.name import displayed
    from modelbuild.session import state

    if output.manifest not in ahead.standing.results or state.state(session, output, ahead.standing) == "yes":
        return []
    library, manifest = session.models.library, ahead.standing.results[output.manifest].artifact
    found = {name: library.served(name) for name in output.names}
    lines = [f"{displayed(name)} is not in the models folder" for name, served in found.items() if served is None]
    lines += [
        f"{displayed(name)} is another model in the models folder"
        for name, served in found.items()
        if served is not None and served.digest != manifest
    ]
    if any(served is not None and not library.is_whole(served) for served in found.values()):
        lines.append("a blob of it is missing from the models folder")
    return lines or ["a file that it is also written to is missing, or another one"]


def _before(call: Invocation, ahead: Ahead) -> None:
    """Why the models were built that the last build has changed."""
    from modelbuild.engine.standing import changed_before
    from modelbuild.session.why import NEVER, UNRECORDED, Why

    at, reasons = changed_before(ahead.standing, call.session.records)
    at = _began(call.session, at)
    outputs = ahead.graph.outputs
    if at:
        why = Why(call.session, ahead.graph, reasons)
        when = f"on {datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"
        needed = ahead.graph.targets()
        labels = {label for name in reasons for label in needed[name]}
        built = [each for each in outputs if each.manifest in reasons]
        same = [
            each
            for each in outputs
            if each.label in labels and each not in built and why.roots(each)[0] not in (NEVER, UNRECORDED)
        ]
        _say(call, built, why.roots, f"was built {when}")
        _say(call, same, why.roots, f"was looked at {when}, and came out the same,")
    if not outputs:
        # All of them wait for what is not pulled.
        return
    call.report.note(
        f"nothing to rebuild: {plural(len(outputs), 'model')} unchanged" + ("" if at else " since the first build")
    )


def _began(session: Session, at: float) -> float:
    """When the build began in which something changed at a time, as `log` tells it."""
    from modelbuild.engine.log import Log

    builds = Log(session.store.database, session.file).last() if at else ()
    found = (each["at"] for each in builds if each["at"] <= at <= each["at"] + each["seconds"] + SLACK)
    return float(next(found, at))


def _events(call: Invocation, selection: Selection) -> None:
    """Why the steps of the last build that changed something ran, as objects."""
    from modelbuild.engine.sources import LOOK
    from modelbuild.engine.standing import changed_before, look_up
    from modelbuild.session.why import Why

    session = call.session
    graph = session.graph.select(selection.outputs)
    standing = look_up(graph, session.records, session.sources.beyond(LOOK, graph.sources()))
    at, reasons = changed_before(standing, session.records)
    at = _began(session, at)
    why, needed = Why(session, graph, reasons), graph.targets()
    for name, because in reasons.items():
        step = graph.steps[name]
        event: dict[str, Any] = {"event": "changed", "step": name, "kind": step.kind, "targets": needed[name]}
        causes = [cause.data() for cause in why.causes(step)]
        event |= {"foreign": True} if steps.is_foreign(step.kind) else {}
        call.report.object({**event, "at": round(at, 3), "because": because, "causes": causes})
