"""A build that runs nothing: which steps would run and why, what models it would make, and what would stand against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.progress import no_work
from modelbuild.cli.sentences import because, forecasts
from modelbuild.engine.graph import Output
from modelbuild.engine.sources import ALL, BUILD
from modelbuild.session import variants
from modelbuild.session.forecast import Ahead, look_ahead, models_ahead
from modelbuild.words import plural

if TYPE_CHECKING:
    from modelbuild.errors import Error
    from modelbuild.session.session import Session


def forecast(
    call: Invocation, outputs: Sequence[Output], *, explain: bool, models: bool = True, force: bool = False
) -> int:
    """Print what a build would run: with the reasons if `explain`, with the models to be if `models`."""
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
        wrong |= _models_to_be(call, ahead)
    if not (ahead.due or wrong or report.as_json):
        report.note(_nothing_would_run(session, ahead.graph.outputs))
    report.errors({id(error): error for errors in wrong.values() for error in errors}.values())
    if report.as_json:
        report.object(no_work(report.seconds, hit=len(ahead.graph.steps) - len(ahead.due), failed=len(wrong)))
    return FAILED if wrong else GOOD


def _models_to_be(call: Invocation, ahead: Ahead) -> dict[str, list[Error]]:
    """Print the size of each model that would be made, and its tensors' types; returns what stands against steps."""
    report = call.report
    found, wrong = models_ahead(call.session, ahead)
    if report.as_json:
        for each in found:
            report.object({"event": "forecast", **each.data()})
    else:
        for line in forecasts(found, report.verbose):
            report.result("\n" + line)
    return wrong


def _nothing_would_run(session: Session, outputs: Sequence[Output]) -> str:
    standing = session.standing(session.graph.select(outputs))
    missing = [output for output in outputs if variants.state(session, output, standing) != "yes"]
    if missing:
        return f"nothing to rebuild; {plural(len(missing), 'model')} to install"
    return f"nothing to rebuild: {plural(len(outputs), 'model')} unchanged"
