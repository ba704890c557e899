"""What a watch says around its builds: when and why each begins, and how changes are noticed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import TracebackType

from modelbuild.cli.places import here, shown_path
from modelbuild.cli.redrawn import Redrawn
from modelbuild.cli.report import Report
from modelbuild.words import plural


class Teller:
    """Tells of rounds: as lines, as JSON objects, or on a terminal as one picture of the last round that replaces the one before."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._told: str | None = None
        self._again = False
        self._is_drawn = False
        self._screen: Redrawn | None = None

    def __enter__(self) -> Teller:
        report = self.report
        lines = report.as_json or report.quiet or report.verbose
        if not lines and report.err.isatty() and os.environ.get("TERM") != "dumb":
            self._screen = Redrawn(report.err)
            report.err = self._screen
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is not None:
            self.report.err = self._screen.stream

    def begin(self, told: Mapping[str, str], *, nothing: bool = False) -> None:
        """A round begins since something changed, path -> how. `nothing`: nothing is made of it."""
        again, self._again = self._again, False
        if self._screen is not None:
            self._screen.clear()
            self._is_drawn = True
        if self.report.as_json:
            at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            self.report.object({"event": "round", "time": at, "changed": told, "restarted": again})
        elif told:
            more = "; nothing to build" if nothing else "; the build starts again" if again else ""
            self.report.note(f"{time.strftime('%H:%M:%S')}  {_said(told)}{more}")

    def superseded(self) -> None:
        """A build was ended since what it is made of changed."""
        self._again = True
        if self.report.as_json:
            self.report.object({"event": "superseded"})

    def waiting(self, folders: int, polling: str | None, period: float) -> None:
        """Say how changes are noticed: once, and again where that changes; always where it stands below the picture."""
        if polling is None:
            how = f"watching {plural(folders, 'folder')}"
        else:
            how = f"watching by polling every {period:.0f} s"
            how += f": {polling}" if polling else ""
        if self._told is None or (self._screen is not None and self._is_drawn):
            self.report.note(f"{how}; Ctrl-C ends it")
        elif polling is not None and polling != self._told:
            self.report.note(how)
        self._told, self._is_drawn = polling or "", False


def _said(told: Mapping[str, str]) -> str:
    """What changed, in a line."""
    first, verbs = next(iter(told)), set(told.values())
    others = f" and {plural(len(told) - 1, 'other')}" if len(told) > 1 else ""
    return f"{shown_path(first, here())}{others} {verbs.pop() if len(verbs) == 1 else 'changed'}"
