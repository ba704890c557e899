"""Holds events against their schema, more strictly than programs may: no event and no member is unknown."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from modelbuild.cli import events


@cache
def _validator(name: str) -> Draft202012Validator:
    definition = events.json_schema()["$defs"][name]
    return Draft202012Validator({**definition, "additionalProperties": False})


def check(event: dict[str, Any]) -> None:
    """Fail for an event that is not as the schema says."""
    assert event["event"] in events.EVENTS, f"modelbuild/cli/events.py does not know {event}"
    for error in _validator(event["event"]).iter_errors(event):
        raise AssertionError(f"{error.json_path}: {error.message}\n{event}")


def check_lines(text: str) -> None:
    """The same for the lines of an output that are events."""
    for line in text.splitlines():
        if line.startswith('{"v": '):
            check(json.loads(line))
