"""The stamp of a finished build: a stat of every file that it depends on. While no stat changes, there is nothing to do or to plan."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from modelbuild.files import signature, young
from modelbuild.observed import Look


class Stamp(NamedTuple):
    """How many models and steps are finished, and all that they hang on.

    files        path -> signature of its stat; "" for what must not be there. A folder's signature stands for its listing
    environment  variable -> value; None for one that must not be set
    """

    models: int
    steps: int
    files: dict[str, str]
    environment: dict[str, str | None]

    def holds(self) -> bool:
        """Whether all is as it was: then there is nothing to do."""
        if any(os.environ.get(name) != value for name, value in self.environment.items()):
            return False
        stat = os.stat
        try:
            for path, seen in self.files.items():
                if seen:
                    if signature(stat(path)) != seen:
                        return False
                elif os.path.lexists(path):
                    return False
        except OSError:
            return False
        return True

    def encode(self) -> bytes:
        return json.dumps(self, separators=(",", ":")).encode()

    @staticmethod
    def decode(data: bytes) -> Stamp:
        return Stamp(*json.loads(data))


def take(
    models: int, steps: int, looks: Iterable[Look], sources: Iterable[str], outputs: Mapping[str, os.stat_result]
) -> Stamp | None:
    """Stamp the files that a plan looked at and those that a build read and wrote; the last with the stats they were left with.

    None where one is so young that a change right now would not show in its times.
    """
    now = time.time()
    environment: dict[str, str | None] = {}
    files: dict[str, str] = {}
    stats: dict[str, os.stat_result] = {}
    wanted = set(sources)
    for verb, subject, seen in looks:
        if verb == "env":
            environment[subject] = seen[1:] if seen else None
        else:
            wanted.add(subject)
    for path in wanted:
        try:
            stats[path] = os.stat(path)
        except OSError:
            if os.path.lexists(path):
                return None
            files[path] = ""
    stats.update(outputs)
    if any(young(info, now) for info in stats.values()):
        return None
    files.update((path, signature(info)) for path, info in stats.items())
    return Stamp(models, steps, files, environment)
