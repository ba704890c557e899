"""The schema of events: valid, closed in what it says and open to later versions, and the same as docs/events.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from modelbuild.cli.events import EVENTS, json_schema
from tests import events

PAGE = Path(__file__).parents[2] / "docs/events.md"
SUMMARY = dict.fromkeys(("ran", "hit", "failed", "skipped", "tensors_computed", "tensors_reused", "bytes_written"), 0)


def valid(event: dict[str, Any]) -> bool:
    return Draft202012Validator(json_schema()).is_valid(event)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_an_event_is_what_its_definition_says() -> None:
    assert valid({"v": 1, "event": "summary", **SUMMARY, "seconds": 0.5})
    assert not valid({"v": 1, "event": "summary", **SUMMARY})
    assert not valid({"v": 1, "event": "summary", **SUMMARY, "seconds": "0.5"})
    assert not valid({"v": 2, "event": "summary", **SUMMARY, "seconds": 0.5})
    assert not valid({"v": 1})


def test_later_versions_may_say_more() -> None:
    assert valid({"v": 1, "event": "summary", **SUMMARY, "seconds": 0.5, "new": True})
    assert valid({"v": 1, "event": "of a later version", "anything": []})


def test_our_own_events_may_not() -> None:
    with pytest.raises(AssertionError, match="does not know"):
        events.check({"v": 1, "event": "unknown"})
    with pytest.raises(AssertionError, match="new"):
        events.check({"v": 1, "event": "summary", **SUMMARY, "seconds": 0.5, "new": True})
    with pytest.raises(ValidationError):
        Draft202012Validator(json_schema()).validate({"v": 1, "event": "step"})


@pytest.mark.parametrize("name", EVENTS)
def test_the_page_has_every_event_and_each_of_its_members(name: str) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(rf"\|[^|]*`{name}`", line)]
    assert len(rows) == 1, f"docs/events.md: a row for `{name}`"
    missing = [member for member in EVENTS[name].members if f"`{member}`" not in rows[0]]
    assert not missing, f"docs/events.md, {name}: {missing}"
