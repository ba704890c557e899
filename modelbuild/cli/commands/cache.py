"""Exchange results with the remote cache: push, pull or stat.

`push` sends what is in the cache of this machine and not in the remote one; `pull` fetches what a build of the targets would
take, and installs nothing; `stat` says what is where. A build does the same by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.tables import Column, table
from modelbuild.words import listed, plural, size

if TYPE_CHECKING:
    import click

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
        return _show(call, exchanging.stat(session, graph, lambda event: None))
    exchange = exchanging.push if what == "push" else exchanging.pull
    return _say(call, what, exchange(session, graph, lambda event: None))


def _say(call: Invocation, what: str, done: Exchanged) -> int:
    report = call.report
    if report.as_json:
        report.data({"results": done.results, "moved": done.moved, "bytes": done.bytes, "missing": [*done.missing]})
    else:
        word = "sent" if what == "push" else "fetched"
        others = done.results - done.moved - sum(1 for _ in done.missing if what == "pull")
        parts = [f"{plural(done.moved, 'result')} {word} ({size(done.bytes)})"]
        parts += [f"{others} there already" if what == "push" else f"{others} here already"] if others > 0 else []
        report.note(", ".join(parts))
        if done.missing:
            report.note(
                f"not built yet: {listed(done.missing)}" if what == "push" else f"not there: {listed(done.missing)}"
            )
    return FAILED if done.missing and what == "pull" else GOOD


def _show(call: Invocation, found: Sequence[Stood]) -> int:
    if call.report.as_json:
        call.report.data([each._asdict() for each in found])
        return GOOD
    head = [Column("model"), Column("results", right=True), Column("here", right=True), Column("remote", right=True)]
    rows = [
        [
            each.label,
            str(each.results),
            *(
                ["?", "?", "?"]
                if each.unread
                else [str(each.here), str(each.there), size(each.bytes) if each.bytes else "-"]
            ),
        ]
        for each in found
    ]
    call.report.result(table([*head, Column("to fetch", right=True)], rows, call.report.width))
    if any(each.unread for each in found):
        call.report.note(
            "?: weights are not read yet, so nobody knows what there is of them; `modelbuild -n --explain` reads them"
        )
    return GOOD
