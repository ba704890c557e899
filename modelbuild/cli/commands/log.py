"""List the past builds of the project that did something.

Says when each began, how long it took, what ran, what was cached, which models it changed and what failed; the latest first.
With TARGET only builds that changed these models, or failed to. -v (before the command) also prints the slowest steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.sentences import STATES
from modelbuild.cli.tables import Column, table
from modelbuild.engine.log import KEPT, Log, Record
from modelbuild.words import duration, in_line, listed

if TYPE_CHECKING:
    import click

SOME = 20
"""Builds that are listed when nobody says how many."""
NAMED = 4
"""Models of a build that its line names."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count, targets

    return [
        targets(),
        click.Option(
            ["-n", "--number"], type=Count(), metavar="N", help=f"List N builds; default: {SOME}, with --json all."
        ),
    ]


def run(call: Invocation, targets: Sequence[str] = (), number: int | None = None) -> int:
    session, report = call.session, call.report
    records = Log(session.store.database, session.file).last(KEPT)
    if targets:
        wanted = session.words().select(targets)
        records = [each for each in records if wanted & {*each["changed"], *each["failed_models"]}]
    records = records[: number or (KEPT if report.as_json else SOME)]
    if report.as_json:
        report.data(records)
    elif records:
        head = [
            Column("BEGAN"),
            Column("TOOK", right=True),
            Column("STEPS", wrap=True, drop=1),
            Column("RESULT", wrap=True),
        ]
        if report.verbose:
            for record in records:
                report.result(table(head, [_row(record)], report.width))
                report.result("\n".join(_details(record)) + "\n")
        else:
            report.result(table(head, [_row(record) for record in records], report.width))
    else:
        report.note("no build has done anything yet" if not targets else "no build is known that changed these models")
    return GOOD


def began(record: Record) -> str:
    """When a build began, in local time."""
    return f"{datetime.fromtimestamp(record['at']):%Y-%m-%d %H:%M:%S}"


def steps(record: Record) -> str:
    """How many steps were run, cached and so on."""
    return ", ".join(f"{record[state]} {word}" for state, word in STATES.items() if record[state]) or "0 run"


def result(record: Record) -> str:
    """What came of a build, in one line."""
    parts = ["interrupted"] if record["interrupted"] else []
    # Builds of earlier versions do not tell apart what was only written into files.
    written = record.get("written", [])
    into_files = record.get("written_models", 0)
    if built := record["changed_models"] - into_files:
        parts.append(f"built {_some([label for label in record['changed'] if label not in written], built)}")
    if written:
        parts.append(f"written {_some(written, into_files)}")
    if record["failed_models"]:
        parts.append(f"failed {_some(record['failed_models'], len(record['failed_models']))}")
    elif record["errors"]:
        parts.append(f"failed: {in_line(record['errors'][0].splitlines()[0])}")
    return "; ".join(parts) or "no model changed"


def _some(labels: Sequence[str], count: int) -> str:
    shown = listed(map(in_line, labels[:NAMED]))
    return shown + (f" and {count - NAMED:,} more" if count > NAMED else "")


def _row(record: Record) -> list[str]:
    return [began(record), duration(record["seconds"]), steps(record), result(record)]


def _details(record: dict[str, Any]) -> list[str]:
    """The options, the slowest steps, and the errors."""
    asked = [*record["options"], *record["targets"]]
    lines = [f"  asked for  {' '.join(map(in_line, asked))}"] if asked else []
    lines += [f"  {duration(each['seconds']):>9}  {in_line(each['step'])}" for each in record["steps"]]
    return lines + [f"  {line}" for error in record["errors"] for line in error.splitlines()]
