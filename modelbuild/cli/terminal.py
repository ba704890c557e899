"""A build on a terminal: plain lines, folded past twenty models, and below them what is running now."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from modelbuild.cli.progress import FOLDED, LATEST, Lines, Objects, Progress, Work
from modelbuild.cli.report import width
from modelbuild.cli.tables import GAP, MARK, columns, hanging
from modelbuild.words import clock, duration, plural, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

    from modelbuild.cli.report import Report
    from modelbuild.engine.build import Event

DELAY = 0.3
"""Seconds that a build may take before its progress is drawn: importing rich would cost a quick one more than it takes."""

RUNNING = 6
"""Steps under way that are drawn."""

BAR = 24

SPAN = 5.0
"""Seconds over which a rate is taken."""


def follow(report: Report, work: Work) -> Progress:
    """Follow a build: as JSON objects, in silence, on a terminal, or in plain lines."""
    if report.as_json:
        return Objects(report, work)
    if report.quiet:
        return Progress(report, work)
    if report.err.isatty() and os.environ.get("TERM") != "dumb":
        return Terminal(report, work)
    return Lines(report, work)


class Terminal(Lines):
    """Plain lines, and below them a picture of what is running now."""

    def __init__(self, report: Report, work: Work) -> None:
        super().__init__(report, work)
        self._mutex = threading.Lock()
        self._running: dict[str, Running] = {}
        self._bytes = Bytes()
        self._done = 0
        self._models = 0
        self._folded: deque[str] = deque(maxlen=LATEST)
        self._hashing: str | None = None
        self._timer: threading.Timer | None = None
        self._live: Live | None = None
        self._stopped = False

    def line(self, text: str, indent: int = GAP) -> None:
        text = "\n".join(hanging(line, width(self.report.err), indent) for line in text.split("\n"))
        with self._mutex:
            if self._live is None:
                self.report.err.write(text + "\n")
            else:
                from rich.text import Text

                self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def model(self, text: str) -> None:
        self._models += 1
        if self._models <= FOLDED or self.report.verbose:
            self.line(text, MARK + GAP)
        else:
            self._folded.append(text)

    def hear(self, event: Event) -> None:
        kind = event["event"]
        if kind == "progress":
            if running := self._running.get(event["step"]):
                running.done, running.total = event["done"], event["total"]
            return
        if kind == "expected":
            self._bytes.expect(event["bytes"])
            return
        if kind == "hashing":
            self._hashing = f"reading {plural(event['files'], 'file')}, {size(event['bytes'])}"
            self._begin_soon()
            return
        if kind == "start":
            self._running[event["step"]] = Running(event["step"])
            self._begin_soon()
        elif kind == "step":
            self._done += 1
            ended = self._running.pop(event["step"], Running(event["step"]))
            self._bytes.finish(ended, event["state"] == "ran")
        self._hashing = None
        super().hear(event)

    def _begin_soon(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(DELAY, self._begin)
            self._timer.daemon = True
            self._timer.start()

    def _begin(self) -> None:
        from rich.console import Console
        from rich.live import Live

        with self._mutex:
            if self._stopped:
                return
            console = Console(file=self.report.err, no_color=not self.report.color, highlight=False)
            live = Live(
                console=console,
                get_renderable=lambda: self._picture(console.width),
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            live.start(refresh=True)
            self._live = live

    def _picture(self, room: int) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        now = time.perf_counter()
        running = list(self._running.values())
        parts = [f"{self._done:,} of {plural(self.work.steps, 'step')}"]
        if len(self.work.names) > 1:
            parts.insert(0, f"{len(self.built):,} of {plural(len(self.work.names), 'model')}")
        head = self._hashing or ", ".join(parts)
        # The last column stays free: some terminals wrap a line that fills it.
        lines: list[RenderableType] = [self._text(f"{head}, {clock(self.report.seconds)}", room, "bold")]
        if (bar := self._bar(running, now, room)) is not None:
            lines.append(bar)
        if self._models > FOLDED:
            more = self._models - FOLDED - len(self._folded)
            lines += [self._text(f"{'…':<{MARK}}  {plural(more, 'more model')}", room)] if more else []
            lines += [self._text(Text.from_ansi(line), room) for line in list(self._folded)]
        lines += [self._text(each.told(now), room, "dim") for each in running[:RUNNING]]
        if len(running) > RUNNING:
            lines.append(self._text(f"and {plural(len(running) - RUNNING, 'step')} more", room, "dim"))
        return Group(*lines)

    @staticmethod
    def _text(text: str | Text, room: int, style: str = "") -> RenderableType:
        from rich.text import Text

        shown = Text(text, style=style) if isinstance(text, str) else text
        shown.no_wrap = True
        shown.truncate(room - 1, overflow="ellipsis")
        return shown

    def _bar(self, running: list[Running], now: float, room: int) -> RenderableType | None:
        """How far all bytes of the build are, as far as they are known; None where none are."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        done, total, rate = self._bytes.look(running, now)
        if not total:
            return None
        parts = [f"{size(done)} of {size(total)}"]
        parts += [f"{size(rate)}/s", f"{clock((total - done) / rate)} left"] if rate and done < total else []
        told = "  ".join(parts)
        grid = Table.grid(padding=(0, GAP))
        bar = min(BAR, room - 1 - GAP - columns(told))
        if bar < 8:
            return self._text(told, room)
        grid.add_column(width=bar)
        grid.add_column(no_wrap=True)
        grid.add_row(ProgressBar(total=total, completed=done, width=bar), told)
        return grid

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._mutex:
            self._stopped = True
            live, self._live = self._live, None
        if live is not None:
            live.stop()
        folded, self._folded = list(self._folded), deque(maxlen=LATEST)
        if more := max(0, self._models - FOLDED - len(folded)) if folded else 0:
            self.line(f"{'…':<{MARK}}  {plural(more, 'more model')}")
        for text in folded:
            self.line(text, MARK + GAP)


class Running:
    """A step under way: bytes done and in all."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.begun = time.perf_counter()
        self.done = 0
        self.total = 0

    def told(self, now: float) -> str:
        """The step in a line, what is short first."""
        far = f"{100 * self.done // self.total:>3} %" if self.total else duration(now - self.begun)
        return f"{far:>{MARK}}  {self.step}"


class Bytes:
    """The bytes of a whole build: those expected before it, and those that turned up; and how fast they come."""

    def __init__(self) -> None:
        self._expected: dict[str, int] = {}
        self._finished = 0
        self._seen: deque[tuple[float, int]] = deque()

    def expect(self, bytes_: dict[str, int]) -> None:
        """Take over what steps are going to write."""
        self._expected.update(bytes_)

    def finish(self, step: Running, ran: bool) -> None:
        """A step is over: what it wrote is done, what it need not write is expected no more."""
        expected = self._expected.pop(step.step, 0)
        if ran:
            self._finished += max(expected, step.total)

    def look(self, running: list[Running], now: float) -> tuple[int, int, float]:
        """Bytes done, bytes in all, and bytes a second; 0 while nothing can be said."""
        done = self._finished + sum(step.done for step in running)
        more = sum(step.total for step in running if step.step not in self._expected)
        total = max(done, self._finished + sum(self._expected.values()) + more)
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > SPAN:
            self._seen.popleft()
        then, before = self._seen[0]
        return done, total, (done - before) / (now - then) if now > then else 0.0
