"""What a build fetches before it begins, as lines or as JSON objects, and what one would fetch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.checkpoint import hf_repository
from modelbuild.cli.tables import MARK
from modelbuild.ollama.name import HOST, Name
from modelbuild.words import plural, size

if TYPE_CHECKING:
    from modelbuild.cli.invocation import Invocation
    from modelbuild.cli.report import Report
    from modelbuild.cli.transfer import Meter
    from modelbuild.project.broken import Broken
    from modelbuild.project.lock import Outside
    from modelbuild.session.session import Selection


def fetch(call: Invocation, select: Callable[[], Selection], *, force: bool = False) -> bool:
    """Bring here what a selection needs of elsewhere, before it is built; returns whether that can be anything. Raises Error and Errors."""
    session = call.session
    if not (session.outside or any(each.wanted for each in session.broken)):
        return False
    from modelbuild.cli.transfer import Meter
    from modelbuild.session import fetching

    with Meter(call.report) as meter:
        try:
            fetching.ready(session, select, Heard(call.report, meter), force=force)
        except KeyboardInterrupt as error:
            error.add_note("the next build goes on with what was downloaded")
            raise
    return True


class Heard:
    """Hears the events of fetching, of which `progress` comes from any thread."""

    def __init__(self, report: Report, meter: Meter) -> None:
        self._report = report
        self._meter = meter
        self._name = ""

    def __call__(self, event: dict[str, Any]) -> None:
        kind, report = event["event"], self._report
        if kind == "progress":
            self._meter.hear(event)
            return
        if kind == "warning":
            report.warning(event["error"])
        elif kind == "fetch":
            self._name = event["name"]
        elif kind == "download" and "total" in event:
            self._meter.begin(self._name, event["done"])
        elif kind == "fetched":
            self._meter.end()
        if report.as_json:
            if kind in ("fetch", "fetched", "pinned"):
                report.object(event)
        elif text := self._line(event):
            word, color = _MARKS[kind]
            report.marked(f"{word:<{MARK}}", color, text)

    def _line(self, event: dict[str, Any]) -> str | None:
        match event["event"]:
            case "download":
                more = event.get("file") or size(event["total"])
                return f"  {located(self._name)}  {more}"
            case "fetched":
                bytes_ = f"  {size(event['bytes'])}" if event["bytes"] else ""
                return f"  {event['name']}{bytes_}  ({short(event['pin'])})"
            case "pinned":
                return f"  {event['name']}  {short(event['pin'])}"
        return None


_MARKS = {"download": ("pulling", ""), "fetched": ("pulled", "green"), "pinned": ("pinned", "")}


def located(name: str) -> str:
    """A name with the registry where it is, if that is not in it."""
    if hf_repository.is_key(name):
        return name
    found = Name.parse(name)
    return f"{name} from {found.host}" if found.host.lower() == HOST else name


def short(pin: str) -> str:
    """A digest or a commit as far as people read it."""
    return pin.removeprefix("sha256:")[:12]


def waiting(broken: Sequence[Broken]) -> list[Broken]:
    """Those that only wait for what a build fetches."""
    return [each for each in broken if each.wanted is not None]


def wrong(broken: Sequence[Broken]) -> list[Broken]:
    """Those that no build can build."""
    return [each for each in broken if each.wanted is None]


def show_wanted(report: Report, found: Sequence[Outside]) -> None:
    """Print what a build would fetch."""
    for each in found:
        if report.as_json:
            report.object({"event": "fetch", "name": each.name, "pin": each.pin, "state": "would-fetch"})
        else:
            report.result(f"{'pull':<7}  {located(each.name)}")


def not_pulled(broken: Sequence[Broken]) -> str:
    """A note on models that wait for others."""
    names = list(dict.fromkeys(f"'{each.wanted.name}'" for each in broken if each.wanted))
    them = "it" if len(names) == 1 else "them"
    need = "needs" if len(broken) == 1 else "need"
    return f"{plural(len(broken), 'model')} {need} what is not pulled yet: {', '.join(names)}; a build pulls {them}"
