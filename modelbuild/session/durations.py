"""How long steps take: as they took before, else as many bytes as they read and write. The build begins with what takes longest."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping

from modelbuild.engine.build import Event
from modelbuild.engine.graph import Graph, Step
from modelbuild.engine.kept import Kept
from modelbuild.errors import Error

PACE = 200e6
"""Bytes a second of a step that never ran."""

LEAST = 0.05
"""Seconds of a step that is worth remembering: in which order quick ones run does not matter."""

MOST = 20_000
"""Steps that are remembered."""


class Durations:
    """The seconds that the steps of one project took when they ran last; `project` is its file."""

    def __init__(self, kept: Kept, project: str) -> None:
        self._kept = kept
        self._key = f"durations\t{project}"
        self._new: dict[str, float] = {}

    def costs(self, graph: Graph, running: Collection[str], sizes: Mapping[str, int]) -> dict[str, float]:
        """The seconds that steps which are to run may take; `sizes` are the bytes of what they make, as far as known."""
        if not running:
            return {}
        before = self._before()
        return {
            name: before.get(name) or (sizes.get(name, 0) + _read(graph.steps[name])) / PACE
            for name in running
            if name in graph.steps
        }

    def hear(self, event: Event) -> None:
        """Take the event of a step that is over."""
        if event["event"] == "step" and event["state"] == "ran" and event["seconds"] >= LEAST:
            self._new[event["step"]] = event["seconds"]

    def save(self) -> None:
        """Remember what was heard. Never raises an Error."""
        if not self._new:
            return
        with contextlib.suppress(Error):
            steps = [*{**self._before(), **self._new}.items()][-MOST:]
            self._kept.put(self._key, json.dumps(dict(steps)).encode())

    def _before(self) -> dict[str, float]:
        with contextlib.suppress(ValueError):
            found = json.loads(self._kept.get(self._key) or b"{}")
            if isinstance(found, dict):
                return {name: took for name, took in found.items() if isinstance(took, float)}
        return {}


def _read(step: Step) -> int:
    """Bytes of the weights that a step reads."""
    total = 0
    for source in step.sources:
        with contextlib.suppress(OSError):
            total += os.stat(source.path).st_size if source.is_weights else 0
    return total
