"""What is said around the builds of a watch."""

from __future__ import annotations

import json
import re

from modelbuild.cli.rounds import Teller
from tests.cli.streams import Streams


def lines(streams: Streams) -> list[str]:
    return [re.sub(r"^\d\d:\d\d:\d\d", "TIME", line) for line in streams.err.splitlines()]


def test_a_round_says_when_and_what(tmp_path: object) -> None:
    streams = Streams()
    with Teller(streams.report) as teller:
        teller.begin({})
        teller.begin({"/a/Modelfile": "changed"})
        teller.begin({"/a/Modelfile": "added", "/b": "added"})
        teller.begin({"/a/Modelfile": "changed", **{f"/{number}": "removed" for number in range(12)}})
        teller.begin({"/a": "removed"}, nothing=True)
        teller.superseded()
        teller.begin({"/a": "changed"})
        teller.begin({"/a": "changed"})
    assert lines(streams) == [
        "TIME  /a/Modelfile changed",
        "TIME  /a/Modelfile and 1 other added",
        "TIME  /a/Modelfile and 12 others changed",
        "TIME  /a removed; nothing to build",
        "TIME  /a changed; the build starts again",
        "TIME  /a changed",
    ]
    assert streams.out == ""


def test_how_changes_are_noticed_is_said_once_and_where_it_changes() -> None:
    streams = Streams()
    with Teller(streams.report) as teller:
        teller.waiting(3, None, 2.0)
        teller.waiting(4, None, 2.0)
        teller.waiting(1, "nfs (/home) does not report every change", 2.0)
        teller.waiting(1, "nfs (/home) does not report every change", 2.0)
    assert streams.err.splitlines() == [
        "watching 3 folders; Ctrl-C ends it",
        "watching by polling every 2 s: nfs (/home) does not report every change",
    ]


def test_programs_get_objects() -> None:
    streams = Streams(as_json=True)
    with Teller(streams.report) as teller:
        teller.begin({})
        teller.superseded()
        teller.begin({"/a": "changed"})
    found = [json.loads(line) for line in streams.out.splitlines()]
    assert all(each.pop("v") == 1 for each in found)
    times = [each.pop("time") for each in found if each["event"] == "round"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", time) for time in times)
    assert found == [
        {"event": "round", "changed": {}, "restarted": False},
        {"event": "superseded"},
        {"event": "round", "changed": {"/a": "changed"}, "restarted": True},
    ]
