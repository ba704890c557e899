"""Every event that is printed in an end-to-end test is one of the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from modelbuild.cli.report import VERSION, Report
from tests import events


@pytest.fixture(autouse=True)
def events_are_those_of_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = Report.object

    def checked(self: Report, event: Mapping[str, Any]) -> None:
        events.check(json.loads(json.dumps({"v": VERSION, **event})))
        printed(self, event)

    monkeypatch.setattr(Report, "object", checked)
