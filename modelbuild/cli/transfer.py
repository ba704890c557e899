"""A download or an upload as it goes on: a bar on a terminal, lines in a pipe, objects for programs."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelbuild.cli.terminal import BAR, SPAN
from modelbuild.words import clock, plural, size

if TYPE_CHECKING:
    from rich.progress import Progress

    from modelbuild.cli.report import Report

OFTEN = 0.1
"""Seconds between two looks of a bar."""

SELDOM = 1.0
"""Seconds between two objects."""

RARELY = 10.0
"""Seconds between two lines."""

LARGE = 256 << 20
"""Bytes of files whose check takes long enough to be told."""


def follow(report: Report, word: str, name: str) -> Transfer:
    """Follow the transfer of a model; `word` says what it is: `pulling`."""
    if report.as_json:
        return Objects(report, word, name)
    if report.quiet:
        return Transfer(report, word, name)
    if report.err.isatty() and os.environ.get("TERM") != "dumb":
        return Bar(report, word, name)
    return Lines(report, word, name)


class Transfer:
    """Hears the events of one transfer, from any thread, and prints nothing. A `with` block ends it."""

    pause = OFTEN

    def __init__(self, report: Report, word: str, name: str) -> None:
        self.report = report
        self.word = word
        self.name = name
        self._mutex = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque()
        self._next = 0.0

    def __enter__(self) -> Transfer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event: `manifest`, `checking`, `present`, `download` or `upload` (done, total), `progress` (done, total)."""
        now = time.monotonic()
        with self._mutex:
            if event["event"] == "progress":
                if now < self._next:
                    return
                self._next = now + self.pause
                self._seen.append((now, event["done"]))
                while len(self._seen) > 2 and now - self._seen[0][0] > max(SPAN, self.pause):
                    self._seen.popleft()
                self.progress(event["done"], event["total"])
            elif event["event"] in ("download", "upload"):
                self._seen.append((now, event["done"]))
                self._next = now + self.pause
                self.begin(event["done"], event["total"])
            else:
                self.hear(event)

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event that is not about how far it is."""

    def begin(self, done: int, total: int) -> None:
        """The transfer begins; `done` bytes were there already."""

    def progress(self, done: int, total: int) -> None:
        """So many bytes are there."""

    def stop(self) -> None:
        """Leave the terminal as it was."""

    def told(self, done: int, total: int) -> str:
        """How far it is, how fast, and how long it takes yet."""
        (then, before), (now, after) = self._seen[0], self._seen[-1]
        rate = (after - before) / (now - then) if now > then else 0.0
        parts = [f"{size(done)} of {size(total)}"]
        parts += [f"{size(rate)}/s", f"{clock((total - done) / rate)} left"] if rate > 0 and done < total else []
        return "  ".join(parts)


class Objects(Transfer):
    """JSON objects, a second apart."""

    pause = SELDOM

    def hear(self, event: dict[str, Any]) -> None:
        self.report.object({**event, "name": self.name})

    def begin(self, done: int, total: int) -> None:
        self.progress(done, total)

    def progress(self, done: int, total: int) -> None:
        self.report.object({"event": "progress", "name": self.name, "done": done, "total": total})


class Lines(Transfer):
    """Plain lines: one at the start, and one now and then."""

    pause = RARELY

    def hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "checking" and event["bytes"] > LARGE:
            self.report.note(checking(event))

    def begin(self, done: int, total: int) -> None:
        more = f", {size(done)} are there from an earlier try" if done else ""
        self.report.note(f"{self.word} {self.name}: {size(total)}{more}")

    def progress(self, done: int, total: int) -> None:
        self.report.note(f"{100 * done // max(total, 1):>3} %  {self.told(done, total)}")


class Bar(Transfer):
    """A bar that goes when it is full."""

    def __init__(self, report: Report, word: str, name: str) -> None:
        super().__init__(report, word, name)
        self._live: Progress | None = None

    def hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "checking" and event["bytes"] > LARGE:
            self._show(checking(event), None)
        elif event["event"] == "present":
            self.stop()

    def begin(self, done: int, total: int) -> None:
        self.stop()
        self._show(f"{self.word} {self.name}", total)
        self.progress(done, total)

    def progress(self, done: int, total: int) -> None:
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=done, told=self.told(done, total))

    def _show(self, description: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(file=self.report.err, no_color=not self.report.color, highlight=False)
        self._live = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR),
            TextColumn("{task.fields[told]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.add_task(description, total=total, told="")
        self._live.start()

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def checking(event: dict[str, Any]) -> str:
    """Say that files which somebody else put are hashed."""
    return f"checking {plural(event['files'], 'file')} that are there already, {size(event['bytes'])}"
