"""The builds of a project that did something: when, how long, what ran and what failed. The last ones are kept."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from modelbuild.engine.database import Database

KEPT = 500
"""Builds of a project that are kept."""
NAMED = 1000
"""Models of a build that are named; of more their number is kept."""
SLOWEST = 50
"""Steps of a build whose times are kept."""
SHOWN = 2000
"""Characters of an error that are kept."""

Record = dict[str, Any]
"""A build, as `log --json` prints it."""


class Log:
    """The builds of one project; `project` is its file."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project

    def add(self, record: Record) -> None:
        """Keep a build, and forget those that are too many."""
        text = json.dumps(record, separators=(",", ":"))
        self._database.change(
            ("insert or replace into built values (?, ?, ?)", [(self._project, record["at"], text)]),
            (
                "delete from built where project = ? and at <= "
                "(select at from built where project = ? order by at desc limit 1 offset ?)",
                [(self._project, self._project, KEPT)],
            ),
        )

    def last(self, count: int = KEPT) -> list[Record]:
        """The last builds, the latest first. One that is damaged is passed over."""
        query = "select record from built where project = ? order by at desc limit ?"
        found = []
        for (text,) in self._database.rows(query, (self._project, count)):
            try:
                record = json.loads(text)
            except (ValueError, TypeError):
                continue
            if isinstance(record, dict) and _FIELDS.keys() <= record.keys():
                found.append(record)
        return found


_FIELDS: Record = {
    "at": 0.0, "seconds": 0.0, "targets": [], "options": [], "interrupted": False,
    "ran": 0, "hit": 0, "failed": 0, "skipped": 0, "tensors_computed": 0, "tensors_reused": 0, "bytes_written": 0,
    "changed": [], "changed_models": 0, "failed_models": [], "steps": [], "errors": [],
}  # fmt: skip


class Recorder:
    """Hears the events of a build, and makes the record of it."""

    def __init__(self, targets: Sequence[str], options: Sequence[str], report: Callable[[Record], None]) -> None:
        self._record: Record = {
            **_FIELDS,
            "at": round(time.time(), 3),
            "targets": list(targets),
            "options": list(options),
        }
        self._begun = time.perf_counter()
        self._report = report
        self._changed: dict[str, None] = {}
        self._published: set[str] = set()
        self._failed: dict[str, None] = {}
        self._steps: list[tuple[float, str]] = []
        self._errors: list[str] = []
        self._counts = {"ran": 0, "hit": 0, "failed": 0, "skipped": 0}
        self._summary: Record | None = None

    def __call__(self, event: Record) -> None:
        kind = event["event"]
        if kind == "step":
            self._step(event)
        elif kind == "summary":
            self._summary = event
        elif kind in ("variant", "file") and event["changed"]:
            self._changed[event["label"]] = None
            if kind == "variant":
                self._published.add(event["label"])
        self._report(event)

    def _step(self, event: Record) -> None:
        state = event["state"]
        self._counts[state] += 1
        if state == "ran":
            keep = heapq.heappush if len(self._steps) < SLOWEST else heapq.heappushpop
            keep(self._steps, (event["seconds"], event["step"]))
        elif state == "failed":
            self._errors.append(event.get("error", "")[:SHOWN])
            self._failed.update(dict.fromkeys(event["targets"]))

    def record(self, errors: Sequence[str], *, interrupted: bool) -> Record | None:
        """The record; None for a build that had nothing to do."""
        summary = self._summary or self._counts
        if not (summary["ran"] or summary["failed"] or self._changed or errors or interrupted):
            return None
        written = [label for label in self._changed if label not in self._published]
        counts = {key: value for key, value in summary.items() if key in _FIELDS and key != "seconds"}
        return (
            self._record
            | counts
            | {
                "seconds": round(time.perf_counter() - self._begun, 3),
                "interrupted": interrupted,
                "changed": list(self._changed)[:NAMED],
                "changed_models": len(self._changed),
                "written": written[:NAMED],
                "written_models": len(written),
                "failed_models": list(self._failed)[:NAMED],
                "steps": [{"step": step, "seconds": seconds} for seconds, step in sorted(self._steps, reverse=True)],
                "errors": list(dict.fromkeys([*self._errors, *(error[:SHOWN] for error in errors)]))[:SLOWEST],
            }
        )
