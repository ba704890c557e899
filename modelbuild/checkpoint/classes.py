"""The supported classes of checkpoints, read from the source of architectures/: importing all of them takes longer than planning."""

from __future__ import annotations

import os
import re
from functools import cache

_CLASSES = re.compile(r"^    CLASSES\b[^=\n]*= \((.*?)\)", re.MULTILINE | re.DOTALL)


@cache
def read() -> frozenset[str]:
    """The names in CLASSES of every file, which are literals."""
    folder = os.path.join(os.path.dirname(__file__), "architectures")
    found: set[str] = set()
    for name in os.listdir(folder):
        if name.endswith(".py") and not name.startswith("_"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found.update(*(re.findall(r'"(\w+)"', names) for names in _CLASSES.findall(file.read())))
    return frozenset(found)
