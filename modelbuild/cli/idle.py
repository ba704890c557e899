"""What is said where a build has nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.cli.sentences import no_longer_declared, nothing_to_do

if TYPE_CHECKING:
    from modelbuild.cli.report import Report
    from modelbuild.session.stamp import Stamp


def say(report: Report, stamp: Stamp) -> None:
    """Say that all is as it was, and what the build before said of it."""
    if stamp.told.stale:
        from modelbuild.ollama.name import displayed

        report.note_once(no_longer_declared(map(displayed, stamp.told.stale)))
    report.note(nothing_to_do(stamp.models, report.seconds))
