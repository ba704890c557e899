"""Exchange results with the remote cache: push, pull or stat.

`push` sends what is in the cache of this machine and not in the remote one; `pull` fetches what a build of the targets would
take, and installs nothing; `stat` says what is where. A build does the same by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.sentences import of_remote
from modelbuild.cli.tables import Column, table
from modelbuild.errors import Error
from modelbuild.words import listed, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.cli.report import Report
    from modelbuild.engine.build import Event
    from modelbuild.session.exchanging import Exchanged, Stood


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import targets

    return [click.Argument(["what"], type=click.Choice(["push", "pull", "stat"])), targets()]


def run(call: Invocation, what: str, targets: Sequence[str] = ()) -> int:
    from modelbuild.session import exchanging

    session = call.session
    selection = session.select(targets)
    graph = session.graph.select(selection.outputs)
    if what == "stat":
        return _show(call, *exchanging.stat(session, graph, partial(_hear, call.report)))
    exchange = exchanging.push if what == "push" else exchanging.pull
    return _say(call, what, exchange(session, graph, partial(_hear, call.report)))


def _hear(report: Report, event: Event) -> None:
    """Warn of what keeps results from being taken. The result is one JSON document: no events stand between."""
    if event["event"] == "unsigned":
        report.warning(Error(of_remote(event)), told=True)
    elif event["event"] == "remark":
        report.warning(event["remark"], told=True)


def _say(call: Invocation, what: str, done: Exchanged) -> int:
    report = call.report
    if report.as_json:
        report.data(
            {
                "results": done.results,
                "moved": done.moved,
                "bytes": done.bytes,
                "missing": [*done.missing],
                "failed": [*done.failed],
                "error": str(done.error) if done.error is not None else None,
            }
        )
    else:
        word = "sent" if what == "push" else "fetched"
        others = done.results - done.moved - len(done.failed) - (len(done.missing) if what == "pull" else 0)
        parts = [f"{plural(done.moved, 'result')} {word} ({size(done.bytes)})"]
        parts += [f"{others} there already" if what == "push" else f"{others} here already"] if others > 0 else []
        report.note(", ".join(parts))
        if done.missing:
            report.note(
                f"not built yet: {listed(done.missing)}" if what == "push" else f"not there: {listed(done.missing)}"
            )
        if done.failed:
            report.note(f"not {word}: {listed(done.failed)}")
    if done.error is not None:
        report.error(done.error, told=True)
    return FAILED if done.failed or (done.missing and what == "pull") else GOOD


def _show(call: Invocation, found: Sequence[Stood], error: Error | None) -> int:
    if call.report.as_json:
        call.report.data([each._asdict() for each in found])
    else:
        _print(call.report, found)
    if error is not None:
        call.report.error(error, told=True)
    return GOOD if error is None else FAILED


def _print(report: Report, found: Sequence[Stood]) -> None:
    head = [Column("model"), Column("results", right=True), Column("here", right=True), Column("remote", right=True)]
    rows = [[each.label, str(each.results), *_known(each)] for each in found]
    report.result(table([*head, Column("to fetch", right=True)], rows, report.width))
    if any(each.unread for each in found):
        report.note(
            "?: weights are not read yet, so nobody knows what there is of them; `modelbuild -n --explain` reads them"
        )


def _known(stood: Stood) -> list[str]:
    if stood.unread:
        return ["?", "?", "?"]
    there, large = stood.there, stood.bytes
    fetched = "?" if large is None else size(large) if large else "-"
    return [str(stood.here), "?" if there is None else str(there), fetched]
