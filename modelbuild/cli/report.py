"""The only printer: results go to stdout, everything else to stderr, as plain lines, live on a terminal, or as JSON objects."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from modelbuild.errors import Error, render
from modelbuild.ollama.name import displayed
from modelbuild.words import clock, duration, listed, plural, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

Color = Literal["auto", "always", "never"]
Event = dict[str, Any]

DELAY = 0.3
"""Seconds that a build may take before its progress is drawn: importing rich would cost a quick one more than it takes."""

WIDE = 84
"""Columns of a terminal that has room for bars and rates."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
"""What a name or a text of somebody else's must not do to the terminal."""

_ANSI = {"bold": "1", "dim": "2", "red": "1;31", "green": "32", "yellow": "33"}


class Report:
    """What the user sees. `quiet` leaves errors alone; `verbose` adds the steps that were found made."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        color: Color = "auto",
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.color = _colored(color, self.err)
        self.base: str | None = None
        self.begin()

    def begin(self) -> None:
        """Count the time from now."""
        self._begun = time.perf_counter()

    def result(self, text: str) -> None:
        """What the command was asked for, as text."""
        self._out(text if text.endswith("\n") else text + "\n")

    def data(self, value: Any) -> None:
        """What the command was asked for, as JSON."""
        self.result(json.dumps(value, indent=2, ensure_ascii=False))

    def object(self, event: Mapping[str, Any]) -> None:
        """One line of a stream of JSON objects."""
        self._out(json.dumps({"v": 1, **event}, ensure_ascii=False) + "\n")
        self.out.flush()

    def _out(self, text: str) -> None:
        try:
            self.out.write(text)
        except UnicodeEncodeError:
            # Names of files may hold bytes that are no text, and stdout need not be UTF-8.
            encoding = self.out.encoding or "utf-8"
            self.out.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def note(self, text: str) -> None:
        """What is good to know beside the result."""
        if not self.quiet:
            self.err.write(text + "\n")

    def error(self, error: Error, *, told: bool = False) -> None:
        """Show an error; with --json also as an object, unless the JSON result has `told` of it."""
        self._trouble("error", "red", error, told)

    def warning(self, error: Error, *, told: bool = False) -> None:
        if not self.quiet:
            self._trouble("warning", "yellow", error, told)

    def errors(self, errors: Iterable[Error], *, told: bool = False) -> None:
        for number, error in enumerate(errors):
            if number:
                self.err.write("\n")
            self.error(error, told=told)

    def _trouble(self, severity: str, color: str, error: Error, told: bool) -> None:
        text = self.rendered(error, severity).translate(_CONTROLS)
        self.err.write(self.paint(severity, color) + text.removeprefix(severity) + "\n")
        if self.as_json and not told:
            self.object({"event": severity, **self.described(error, severity)})

    def rendered(self, error: Error, severity: str = "error") -> str:
        return render(nearer(error, self.base, _here()), severity)

    def described(self, error: Error, severity: str = "error") -> Event:
        """An error for programs."""
        near = nearer(error, self.base, _here())
        return {"message": near.what, "place": near.place or None, "text": render(near, severity)}

    def paint(self, text: str, color: str) -> str:
        return f"\x1b[{_ANSI[color]}m{text}\x1b[0m" if self.color else text

    @property
    def seconds(self) -> float:
        """Since the command began."""
        return time.perf_counter() - self._begun

    def building(self, steps: int, size: Callable[[str], int | None]) -> Progress:
        """Follow a build of so many steps; `size` tells what the model of a manifest takes, in bytes."""
        if self.as_json:
            return Objects(self, steps, size)
        if self.quiet:
            return Progress(self, steps, size)
        if self.err.isatty() and os.environ.get("TERM") != "dumb":
            return Terminal(self, steps, size)
        return Lines(self, steps, size)


def unjudged(path: str, architecture: str) -> str:
    """Say that nobody has looked whether a GGUF file can be run."""
    return f"not checked: {path}: the architecture '{architecture}' is not known here"


def waiting(path: str) -> str:
    """Say that another process holds what we need."""
    return f"waiting for another modelbuild, which holds {path}"


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
            self.stale = [displayed(name) for name in event["names"]]
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
            self.report.note(
                f"no longer declared: {names}; `modelbuild clean --stale` removes what the project once built"
            )
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
        self.variants: set[str] = set()
        self.changed: set[str] = set()

    def line(self, text: str) -> None:
        self.report.err.write(text + "\n")

    def hear(self, event: Event) -> None:
        match event["event"]:
            case "hashing":
                files = plural(event["files"], "file")
                self.line(f"reading {files} ({size(event['bytes'])}) for the first time or changed since")
            case "waiting":
                self.line(waiting(event["path"]))
            case "unjudged":
                if self.report.verbose:
                    self.line(unjudged(event["path"], event["architecture"]))
            case "distrust":
                self.line(f"the cache's records are wrong ({event['path']}): everything is made again")
            case "start":
                if reasons := event.get("because"):
                    self.line("\n".join(because(event["step"], reasons)))
            case "step":
                self.step(event)
            case "variant":
                self.variant(event)

    def step(self, event: Event) -> None:
        state, verbose = event["state"], self.report.verbose
        told = {"ran": self.tells_steps or verbose, "hit": verbose, "failed": True, "skipped": verbose}
        if told[state]:
            seconds = f"  {duration(event['seconds'])}" if state in ("ran", "failed") else ""
            word = self.report.paint(f"{state:<7}", "red") if state == "failed" else f"{state:<7}"
            self.line(f"{word}  {event['step']}{seconds}")

    def variant(self, event: Event) -> None:
        self.variants.add(event["label"])
        if event["changed"]:
            self.changed.add(event["label"])
        if event["changed"] or self.report.verbose:
            word = f"{'built' if event['changed'] else 'same':<7}"
            bytes_ = self.size(event["manifest"])
            name = displayed(event["name"])
            self.line(
                f"{self.report.paint(word, 'green')}  {name}" + (f"  {size(bytes_)}" if bytes_ is not None else "")
            )

    def finish(self, summary: Event, failed: bool) -> None:
        self.line(summed_up(summary, len(self.variants), len(self.changed), self.report.seconds, failed))


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


def taken(names: Mapping[str, str], folder: str) -> list[Error]:
    """A warning for each file of another project that wrote some of the names before this build did."""
    by_file: dict[str, list[str]] = {}
    for name, file in names.items():
        by_file.setdefault(file, []).append(f"'{displayed(name)}'")
    return [
        Error(
            f"{listed(found)} {'is' if len(found) == 1 else 'are'} written by another project too: "
            "each overwrites what the other built",
            facts=[("project", file), ("models", folder)],
            hint="give the models of one of them another `namespace`, `name` or `tag`, or name another models folder",
        )
        for file, found in by_file.items()
    ]


def nothing_to_do(models: int, seconds: float) -> str:
    return f"nothing to do: {plural(models, 'model')} {'is' if models == 1 else 'are'} up to date ({duration(seconds)})"


def summed_up(summary: Event, variants: int, changed: int, seconds: float, failed: bool = False) -> str:
    """A build in one line."""
    took = duration(seconds)
    if not (summary["ran"] or failed or summary["failed"] or changed):
        return nothing_to_do(variants, seconds)
    parts = [f"{plural(summary['ran'], 'step')} ran"]
    parts += [
        f"{summary[state]} {word}" for state, word in (("hit", "found made"), ("skipped", "skipped")) if summary[state]
    ]
    if summary["tensors_computed"] or summary["tensors_reused"]:
        parts.append(f"{plural(summary['tensors_computed'], 'tensor')} computed, {summary['tensors_reused']} reused")
    if summary["bytes_written"]:
        parts.append(f"{size(summary['bytes_written'])} written")
    if summary["failed"]:
        head = f"{plural(summary['failed'], 'step')} failed after {took}"
    elif failed:
        head = f"failed after {took}"
    elif changed:
        head = f"{plural(changed, 'model')} built in {took}"
    else:
        head = f"{plural(variants, 'model')} as before after {took}"
    return f"{head}: {', '.join(parts)}"


def because(step: str, reasons: Iterable[Mapping[str, str]], doing: str = "runs") -> list[str]:
    """Why a step runs, field by field."""
    lines = [f"{step} {doing} because"]
    for reason in reasons:
        field = reason["field"].replace(_here() + os.sep, "")
        change = f"{_short(reason['before'])} -> {_short(reason['after'])}"
        lines.append(
            "  " + {"step": "it was never built", "artifact": reason["after"]}.get(field, f"{field}: {change}")
        )
    return lines


def _short(text: str) -> str:
    """A value in one line: digests and long texts cut."""
    algorithm, mark, digest = text.partition(":")
    if mark and algorithm in ("sha256", "xxh3"):
        return f"{algorithm}:{digest[:12]}"
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:59] + "…"


def _here() -> str:
    """The working folder; the root where it has been removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def near_path(path: str, folder: str) -> str:
    """A path as seen from a folder, where it lies in it."""
    return os.path.relpath(path, folder) if path.startswith(folder.rstrip(os.sep) + os.sep) else path


def nearer(error: Error, base: str | None, cwd: str) -> Error:
    """The error with its paths as seen from the working folder, where they lie in it; `base` is what its own start from."""

    def near(path: str) -> str:
        if base is not None and not os.path.isabs(path) and os.path.lexists(os.path.join(base, path)):
            path = os.path.join(base, path)
        return near_path(path, cwd)

    facts = [(label, text if "\n" in text else near(text)) for label, text in error.facts]
    return error.replace(path=error.path and near(error.path), facts=facts)


def _colored(color: Color, stream: TextIO) -> bool:
    if color != "auto":
        return color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")
