"""What a build tells while it runs: plain lines, a live picture on a terminal, or JSON objects."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from modelbuild.cli.places import here, near_path
from modelbuild.cli.sentences import STATES, Outcome, because, summed_up, taken, unjudged, waiting
from modelbuild.errors import Error
from modelbuild.ollama.name import displayed
from modelbuild.words import clock, duration, listed, plural, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from modelbuild.cli.report import Report
    from modelbuild.engine.build import Event

DELAY = 0.3
"""Seconds that a build may take before its progress is drawn: importing rich would cost a quick one more than it takes."""

WIDE = 84
"""Columns of a terminal that has room for bars and rates."""


def follow(report: Report, steps: int, size: Callable[[str], int | None]) -> Progress:
    """Follow a build of so many steps; `size` tells what the model of a manifest takes, in bytes."""
    if report.as_json:
        return Objects(report, steps, size)
    if report.quiet:
        return Progress(report, steps, size)
    if report.err.isatty() and os.environ.get("TERM") != "dumb":
        return Terminal(report, steps, size)
    return Lines(report, steps, size)


def no_work(seconds: float, *, hit: int = 0, failed: int = 0) -> Event:
    """The summary where nothing was run."""
    counts = {"ran": 0, "hit": hit, "failed": failed, "skipped": 0}
    work = {"tensors_computed": 0, "tensors_reused": 0, "bytes_written": 0}
    return {"event": "summary", **counts, **work, "seconds": round(seconds, 4)}


class Progress:
    """Hears the events of a build; silent itself. `close` tells what came of it."""

    def __init__(self, report: Report, steps: int, size: Callable[[str], int | None]) -> None:
        self.report = report
        self.steps = steps
        self.size = size
        self.summary: Event | None = None
        self.stale: list[str] = []
        self.taken: list[Error] = []

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, event: Event) -> None:
        # Progress comes thousands of times and from every thread: nothing may be done here but what it needs.
        if event["event"] == "summary":
            self.summary = event
        elif event["event"] == "stale":
            self.stale = [*map(displayed, event["names"]), *(near_path(path, here()) for path in event["files"])]
            self.hear(event)
        elif event["event"] == "taken":
            self.taken = taken(event["names"], event["models"])
            self.hear(event)
        else:
            self.hear(event)

    def hear(self, event: Event) -> None:
        """Take one event; `progress` comes from any thread, the others from the one that builds."""

    def stop(self) -> None:
        """Leave the terminal as it was."""

    def close(self, errors: Sequence[Error]) -> None:
        """The build is over: say what went wrong, and last the summary."""
        self.stop()
        self.report.errors(errors)
        for warning in self.taken:
            self.report.warning(warning, told=True)
        if self.stale and not self.report.as_json:
            names = listed(f"'{name}'" for name in self.stale)
            self.report.note(f"no longer declared: {names}; `modelbuild clean --stale` removes them")
        if self.summary is not None:
            self.finish(self.summary, bool(errors))

    def finish(self, summary: Event, failed: bool) -> None:
        """Say the summary."""


class Objects(Progress):
    """One JSON object a line on stdout, for programs."""

    def hear(self, event: Event) -> None:
        if event["event"] == "variant":
            event = {**event, "name": displayed(event["name"])}
        elif event["event"] == "stale":
            event = {**event, "names": [displayed(name) for name in event["names"]]}
        elif event["event"] == "taken":
            event = {**event, "names": {displayed(name): file for name, file in event["names"].items()}}
        if event["event"] != "progress":
            self.report.object(event)

    def finish(self, summary: Event, failed: bool) -> None:
        self.report.object(summary)


class Lines(Progress):
    """Plain lines on stderr: a step that ran, a variant that is finished, the summary."""

    def __init__(self, report: Report, steps: int, size: Callable[[str], int | None]) -> None:
        super().__init__(report, steps, size)
        self.tells_steps = True
        self.built: dict[str, bool] = {}
        self.failed: dict[str, None] = {}
        self.skipped: dict[str, None] = {}

    def line(self, text: str) -> None:
        self.report.err.write(text + "\n")

    def hear(self, event: Event) -> None:
        match event["event"]:
            case "hashing":
                files = plural(event["files"], "file")
                self.line(f"reading {files} ({size(event['bytes'])}), new or changed")
            case "waiting":
                self.line(waiting(event["path"]))
            case "unjudged":
                if self.report.verbose:
                    self.line(unjudged(event["path"], event["architecture"]))
            case "distrust":
                self.line(f"the cache's records are wrong ({event['path']}): everything is rebuilt")
            case "start":
                if reasons := event.get("because"):
                    self.line("\n".join(because(event["step"], reasons)))
            case "step":
                self.step(event)
            case "variant":
                self.variant(event)
            case "file":
                self.file(event)

    def step(self, event: Event) -> None:
        state, verbose = event["state"], self.report.verbose
        if state in ("failed", "skipped"):
            labels = self.failed if state == "failed" else self.skipped
            labels.update(dict.fromkeys(event["targets"]))
        told = {"ran": self.tells_steps or verbose, "hit": verbose, "failed": True, "skipped": verbose}
        if told[state]:
            seconds = f"  {duration(event['seconds'])}" if state in ("ran", "failed") else ""
            word = f"{STATES[state]:<9}"
            self.line(f"{self.report.paint(word, 'red') if state == 'failed' else word}  {event['step']}{seconds}")

    def variant(self, event: Event) -> None:
        self.built[event["label"]] = self.built.get(event["label"], False) or event["changed"]
        if event["changed"] or self.report.verbose:
            word = f"{'built' if event['changed'] else 'unchanged':<9}"
            bytes_ = self.size(event["manifest"])
            name = displayed(event["name"])
            self.line(
                f"{self.report.paint(word, 'green')}  {name}" + (f"  {size(bytes_)}" if bytes_ is not None else "")
            )

    def file(self, event: Event) -> None:
        self.built[event["label"]] = self.built.get(event["label"], False) or event["changed"]
        if event["changed"] or self.report.verbose:
            word = f"{'written' if event['changed'] else 'unchanged':<9}"
            self.line(f"{self.report.paint(word, 'green')}  {near_path(event['path'], here())}  {size(event['bytes'])}")

    def finish(self, summary: Event, failed: bool) -> None:
        built = [label for label, changed in self.built.items() if changed]
        unchanged = [label for label, changed in self.built.items() if not changed]
        skipped = [label for label in self.skipped if label not in self.failed and label not in self.built]
        outcome = Outcome(built, unchanged, list(self.failed), skipped)
        self.line(summed_up(summary, outcome, self.report.seconds, failed))


class Terminal(Lines):
    """Plain lines, and below them what is running now."""

    def __init__(self, report: Report, steps: int, size: Callable[[str], int | None]) -> None:
        super().__init__(report, steps, size)
        self.tells_steps = False
        self._mutex = threading.Lock()
        self._running: dict[str, Running] = {}
        self._done = 0
        self._hashing: str | None = None
        self._timer: threading.Timer | None = None
        self._live: Live | None = None
        self._wide = True
        self._stopped = False

    def line(self, text: str) -> None:
        with self._mutex:
            if self._live is None:
                self.report.err.write(text + "\n")
            else:
                from rich.text import Text

                self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def hear(self, event: Event) -> None:
        kind = event["event"]
        if kind == "progress":
            if running := self._running.get(event["step"]):
                running.done, running.total = event["done"], event["total"]
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
            self._running.pop(event["step"], None)
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
            self._wide = console.width >= WIDE
            live = Live(
                console=console,
                get_renderable=self._picture,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            live.start(refresh=True)
            self._live = live

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = self._hashing or f"{self._done} of {plural(self.steps, 'step')}"
        now = time.perf_counter()
        wide = self._wide
        grid = Table.grid(padding=(0, 2))
        for number in range(5 if wide else 3):
            grid.add_column(justify="left" if number < (2 if wide else 1) else "right", no_wrap=True)
        for running in list(self._running.values()):
            done, total = running.done, running.total
            rate = running.rate(now)
            bar: list[RenderableType] = [ProgressBar(total=total or 1, completed=done, width=24)] if total else [""]
            speed = [f"{size(rate)}/s" if total and rate else ""]
            left = (
                f"{clock((total - done) / rate)} left"
                if total and rate
                else ""
                if total
                else duration(now - running.begun)
            )
            cells = [f"{size(done)} of {size(total)}" if total else "", *(speed if wide else []), left]
            grid.add_row(running.step, *(bar if wide else []), *cells)
        return Group(Text(f"{head}, {clock(self.report.seconds)}", style="bold"), grid)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._mutex:
            self._stopped = True
            live, self._live = self._live, None
        if live is not None:
            live.stop()


class Running:
    """A step under way: bytes done and in all, and how fast it has been in the last seconds."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.begun = time.perf_counter()
        self.done = 0
        self.total = 0
        self._seen: deque[tuple[float, int]] = deque(maxlen=32)

    def rate(self, now: float) -> float:
        """Bytes a second; 0 while nothing can be said."""
        self._seen.append((now, self.done))
        then, done = self._seen[0]
        return (self.done - done) / (now - then) if now > then else 0.0
