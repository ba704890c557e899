"""What a build fetches before it begins, as lines or as JSON objects, and what one would fetch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.words import plural, size

if TYPE_CHECKING:
    from modelbuild.cli.invocation import Invocation
    from modelbuild.cli.report import Report
    from modelbuild.project.broken import Broken
    from modelbuild.project.lock import Outside
    from modelbuild.session.session import Selection


def fetch(call: Invocation, select: Callable[[], Selection], *, force: bool = False) -> None:
    """Bring here what a selection needs of elsewhere, before it is built. Raises Error and Errors."""
    session = call.session
    if session.outside or any(each.wanted for each in session.broken):
        from modelbuild.session import fetching

        fetching.ready(session, select, _Heard(call.report), force=force)


class _Heard:
    """Hears the events of fetching."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._name = ""

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "warning":
            self._report.warning(event["error"])
        elif self._report.as_json:
            if kind in ("fetch", "fetched", "pinned"):
                self._report.object(event)
        elif kind == "fetch":
            self._name = event["name"]
            if event["kind"] == "checkpoint":
                self._report.note(f"pulling {self._name}")
        elif kind == "manifest":
            self._report.note(f"pulling {self._name}: {size(event['size'])}")
        elif kind == "fetched":
            self._report.note(f"pulled {event['name']} ({short(event['pin'])})")


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
            report.result(f"{'pull':<7}  {each.name}")


def not_pulled(broken: Sequence[Broken]) -> str:
    """A note on models that wait for others."""
    names = ", ".join(dict.fromkeys(f"'{each.wanted.name}'" for each in broken if each.wanted))
    return f"{plural(len(broken), 'model')} waiting for what is not pulled yet: {names}; `modelbuild` pulls it"
