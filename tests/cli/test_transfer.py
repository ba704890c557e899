from __future__ import annotations

import re

import pytest

from modelbuild.cli import transfer
from modelbuild.cli.transfer import Meter
from tests.cli.streams import Streams


def drawn(monkeypatch: pytest.MonkeyPatch, **options: bool) -> str:
    """What a transfer of ten pieces writes to stderr, each after a second."""
    now = [100.0]
    monkeypatch.setattr(transfer.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "xterm")
    streams = Streams(**{name: value for name, value in options.items() if name != "terminal"})
    monkeypatch.setattr(streams.stderr, "isatty", lambda: options.get("terminal", False))
    with Meter(streams.report) as meter:
        meter.begin("team/chat:v1")
        for number in range(1, 11):
            now[0] += 1
            meter.hear({"event": "blob"})
            meter.hear({"event": "progress", "done": number * 10_000_000, "total": 100_000_000})
            meter.hear({"event": "progress", "done": number * 10_000_000 + 1, "total": 100_000_000})
    meter.hear({"event": "progress", "done": 1, "total": 2})
    return streams.err


def test_a_terminal_gets_one_line_that_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, terminal=True)
    lines = re.split(r"\r\x1b\[K", text)
    assert lines[0] == lines[-1] == "" and len(lines) == 12
    assert lines[5] == " 50 %  50.0 MB of 100 MB  10.0 MB/s  0:05 left  team/chat:v1"
    assert lines[10] == "100 %  100 MB of 100 MB  10.0 MB/s  team/chat:v1"


@pytest.mark.parametrize("options", [{}, {"terminal": True, "quiet": True}, {"terminal": True, "as_json": True}])
def test_nobody_else_gets_it(monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]) -> None:
    assert drawn(monkeypatch, **options) == ""
