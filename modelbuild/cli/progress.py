"""The events of a build, printed as lines or as JSON objects; on a terminal, `terminal` adds a live display."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from modelbuild.cli.places import here, shown_path
from modelbuild.cli.sentences import (
    STATES,
    Outcome,
    because,
    exchanged,
    no_longer_declared,
    of_cluster,
    of_remote,
    ran_open,
    replaced,
    summed_up,
    taken,
    titled,
    unjudged,
    waiting,
)
from modelbuild.cli.tables import GAP, MARK
from modelbuild.errors import Error
from modelbuild.ollama.name import displayed
from modelbuild.tuples import NamedTuple
from modelbuild.words import duration, plural, size

if TYPE_CHECKING:
    from modelbuild.cli.report import Report
    from modelbuild.engine.build import Event
    from modelbuild.project.broken import Broken

FOLDED = 16
"""Models that a terminal gets a line for; of more it gets the `LATEST` and a count, so that twenty are shown."""
LATEST = 4


class Work(NamedTuple):
    """What is known of a build before it begins.

    steps  how many there are
    names  of each variant, by its label
    size   tells what the model of a manifest takes, in bytes
    others how many models are known to be as they were
    """

    steps: int
    names: Mapping[str, Sequence[str]] = {}
    size: Callable[[str], int | None] = lambda manifest: None
    others: int = 0


def broken_events(broken: Iterable[Broken]) -> Iterator[Event]:
    """An event for each target that is broken, before the work."""
    for each in broken:
        names = [name.display() for name in each.names or ()]
        error = "\n\n".join(map(str, each.errors))
        yield {"event": "broken", "label": each.label, "model": each.model or None, "names": names, "error": error}


def no_work(seconds: float, *, hit: int = 0, failed: int = 0) -> Event:
    """The summary where nothing was run."""
    counts = {"ran": 0, "hit": hit, "failed": failed, "skipped": 0}
    work = {"tensors_computed": 0, "tensors_reused": 0, "bytes_written": 0}
    return {"event": "summary", **counts, **work, "seconds": round(seconds, 4)}


class Progress:
    """Hears the events of a build and prints nothing. `close` ends it."""

    def __init__(self, report: Report, work: Work) -> None:
        self.report = report
        self.work = work
        self.summary: Event | None = None
        self.stale: list[str] = []
        self.warnings: list[Error] = []

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
            self.stale = [*map(displayed, event["names"]), *(shown_path(path, here()) for path in event["files"])]
            self.hear(event)
        elif event["event"] == "remark":
            # Before any step starts, so that nothing is drawn yet.
            self.report.remark(event["remark"], minor=event["minor"])
        elif event["event"] == "taken":
            self.warnings += taken(event["names"], event["models"])
            self.hear(event)
        elif event["event"] == "replaced":
            self.warnings += replaced(event["blobs"], event["models"])
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
        for warning in self.warnings:
            self.report.warning(warning, told=True)
        if self.stale and not self.report.as_json:
            self.report.note_once(no_longer_declared(self.stale))
        if self.summary is not None:
            self.finish(self.summary, bool(errors))

    def finish(self, summary: Event, failed: bool) -> None:
        """Say the summary."""


class Objects(Progress):
    """One JSON object a line on stdout, for programs."""

    def hear(self, event: Event) -> None:
        if event["event"] == "variant":
            event = {**event, "name": displayed(event["name"])}
        elif event["event"] in ("stale", "unpublished"):
            event = {**event, "names": [displayed(name) for name in event["names"]]}
        elif event["event"] == "taken":
            event = {**event, "names": {displayed(name): file for name, file in event["names"].items()}}
        if event["event"] not in ("progress", "expected"):
            self.report.object(event)

    def finish(self, summary: Event, failed: bool) -> None:
        self.report.object(summary)


class Lines(Progress):
    """Plain lines on stderr: a model that is built, with --verbose each step, and the summary."""

    def __init__(self, report: Report, work: Work) -> None:
        super().__init__(report, work)
        self.built: dict[str, bool] = {}
        self.written: set[str] = set()
        self.failed: dict[str, None] = {}
        self.skipped: dict[str, None] = {}

    def line(self, text: str, indent: int = 0) -> None:
        """Print a line; `indent` is where it goes on if it must be wrapped."""
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
            case "tool":
                if event["network"]:
                    self.line(ran_open(event["tool"]))
                if self.report.verbose:
                    self.line(f"log of {event['tool']}: {event['log']}")
            case "distrust":
                self.line(f"the cache's records are wrong ({event['path']}): everything is rebuilt")
            case "remote-lost" | "remote-fault" | "unsigned":
                self.line(of_remote(event))
            case "cluster":
                self.line(of_cluster(event))
            case "brought":
                if self.report.verbose:
                    self.line(f"{'fetched':<{MARK}}  {event['step']}  {size(event['bytes'])}", MARK + GAP)
            case "gathered":
                if self.report.verbose:
                    tensors = plural(event["tensors"], "tensor")
                    self.line(f"{'fetched':<{MARK}}  {tensors} of {event['step']}  {size(event['bytes'])}", MARK + GAP)
            case "shared":
                self.line(exchanged(event))
            case "broken":
                if event["model"]:
                    self.failed[event["label"]] = None
            case "unpublished":
                self.failed[event["label"]] = None
                self.built.pop(event["label"], None)
                self.written.discard(event["label"])
            case "start":
                self.causes(event["step"], "runs", event)
            case "step":
                self.step(event)
            case "variant":
                self.causes(titled(self.work.names.get(event["label"], [event["name"]])), "is built", event)
                self.variant(event)
            case "file":
                self.file(event)

    def causes(self, what: str, doing: str, event: Event) -> None:
        """With --explain, why something is done."""
        if "causes" in event:
            from modelbuild.session.why import Cause

            self.line("\n".join(because(what, [Cause(**each) for each in event["causes"]], doing)))

    def step(self, event: Event) -> None:
        state, verbose = event["state"], self.report.verbose
        if state in ("failed", "skipped"):
            labels = self.failed if state == "failed" else self.skipped
            labels.update(dict.fromkeys(event["targets"]))
        if state == "failed" or verbose:
            seconds = f"  {duration(event['seconds'])}" if state in ("ran", "failed") else ""
            word = f"{STATES[state]:<{MARK}}"
            word = self.report.paint(word, "red") if state == "failed" else word
            self.line(f"{word}  {event['step']}{seconds}", MARK + GAP)

    def variant(self, event: Event) -> None:
        self.built[event["label"]] = self.built.get(event["label"], False) or event["changed"]
        names = self.work.names.get(event["label"], [event["name"]])
        # There is an event for each name of a model, and one line for all of them.
        if event["name"] == names[0] and (event["changed"] or self.report.verbose):
            word = f"{'built' if event['changed'] else 'unchanged':<{MARK}}"
            bytes_ = self.work.size(event["manifest"])
            told = titled(names) + (f"  {size(bytes_)}" if bytes_ is not None else "")
            self.model(f"{self.report.paint(word, 'green')}  {told}")

    def model(self, text: str) -> None:
        """The line of a model."""
        self.line(text)

    def file(self, event: Event) -> None:
        self.built.setdefault(event["label"], False)
        if event["changed"]:
            self.written.add(event["label"])
        if event["changed"] or self.report.verbose:
            word = f"{'written' if event['changed'] else 'unchanged':<{MARK}}"
            self.model(
                f"{self.report.paint(word, 'green')}  {shown_path(event['path'], here())}  {size(event['bytes'])}"
            )

    def finish(self, summary: Event, failed: bool) -> None:
        built = [label for label, changed in self.built.items() if changed]
        written = [label for label, changed in self.built.items() if not changed and label in self.written]
        unchanged = [label for label, changed in self.built.items() if not changed and label not in self.written]
        skipped = [label for label in self.skipped if label not in self.failed and label not in self.built]
        outcome = Outcome(built, unchanged, list(self.failed), skipped, self.work.others, written)
        self.line(summed_up(summary, outcome, self.report.seconds, failed))
