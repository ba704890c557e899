"""Pin what names mean now that are not of this project.

Asks the registry of each NAME, or Hugging Face, which manifest or commit it means now, and writes that into
ModelBuild.lock; without NAME, for all of the project, and pins that no model uses are removed. Nothing large is
downloaded: the next build pulls what changed. With --offline, the models folders are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.fetched import short
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.words import plural

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    import click

    return [click.Argument(["names"], nargs=-1, metavar="[NAME]...")]


def run(call: Invocation, names: Sequence[str] = ()) -> int:
    from modelbuild.session import updating

    session, report = call.session, call.report
    found = updating.update(session, names)
    if report.as_json:
        report.data([change._asdict() for change in found.changes])
    else:
        for name, before, after in found.changes:
            told = f"{short(before) if before else 'not pinned'} -> {short(after) if after else 'not pinned'}"
            report.result(f"{name}  {told}")
    report.errors(found.errors, told=True)
    if found.errors:
        return FAILED
    if found.changes:
        report.note(f"the next build uses {'it' if len(found.changes) == 1 else 'them'}")
    else:
        report.note(f"nothing moved: {plural(found.asked, 'name')} pinned as before")
    return GOOD
