"""How far a transfer is, on one line of a terminal."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelbuild.cli.report import width
from modelbuild.words import clock, cut, size

if TYPE_CHECKING:
    from modelbuild.cli.report import Report

INTERVAL = 0.2
"""Seconds between two looks of the line."""

DELAY = 0.5
"""Seconds that a transfer may take before it gets a line."""


class Meter:
    """Hears how many bytes are through, from any thread. Draws nothing where stderr is no terminal, or nobody wants it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        is_terminal = report.err.isatty() and os.environ.get("TERM") != "dumb"
        self._is_live = is_terminal and not (report.quiet or report.as_json)
        self._mutex = threading.Lock()
        self._title: str | None = None
        self._begun = self._drawn = 0.0
        self._before = 0
        self._is_drawn = False

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def begin(self, title: str, done: int = 0) -> None:
        """A transfer begins, of which so many bytes were through before."""
        with self._mutex:
            self._title = title
            self._before = done
            self._begun = self._drawn = time.monotonic()

    def end(self) -> None:
        """The transfer is over: its line goes."""
        with self._mutex:
            self._title = None
            if self._is_drawn:
                self._report.err.write("\r\x1b[K")
                self._report.err.flush()
                self._is_drawn = False

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take an event; only `progress` (done, total: bytes) is of interest."""
        if not self._is_live or event["event"] != "progress":
            return
        now = time.monotonic()
        with self._mutex:
            if self._title is None or now - self._begun < DELAY or now - self._drawn < INTERVAL:
                return
            self._drawn, self._is_drawn = now, True
            # The last columns stay free: some terminals wrap a line that fills it, and Ctrl-C writes `^C` there.
            text = cut(self._told(event["done"], event["total"], now), (width(self._report.err) or 80) - 3)
            self._report.err.write(f"\r\x1b[K{text}")
            self._report.err.flush()

    def _told(self, done: int, total: int, now: float) -> str:
        rate = (done - self._before) / (now - self._begun)
        left = f"  {clock((total - done) / rate)} left" if rate > 0 and done < total else ""
        return f"{100 * done // max(total, 1):>3} %  {size(done)} of {size(total)}  {size(max(rate, 0))}/s{left}  {self._title}"
