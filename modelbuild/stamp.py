"""The stamp of a finished build: what a stat of every file in it said. While that holds there is nothing to do, and nothing to plan."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from modelbuild.observed import Look
from modelbuild.sources import signature, young


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


def take(models: int, steps: int, looks: Iterable[Look], paths: Iterable[str]) -> Stamp | None:
    """Stamp the files that a plan looked at and those that a build read and wrote.

    None where one is so young that a change right now would not show in its times.
    """
    now = time.time()
    environment: dict[str, str | None] = {}
    files: dict[str, str] = {}
    wanted = set(paths)
    for verb, subject, seen in looks:
        if verb == "env":
            environment[subject] = seen[1:] if seen else None
        else:
            wanted.add(subject)
    for path in wanted:
        try:
            info = os.stat(path)
        except OSError:
            if os.path.lexists(path):
                return None
            files[path] = ""
            continue
        if young(info, now):
            return None
        files[path] = signature(info)
    return Stamp(models, steps, files, environment)
