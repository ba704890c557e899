"""The supported classes of checkpoints, read from the source of a folder's files: importing all of them takes longer than planning."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache

_CLASSES = re.compile(r"^    CLASSES\b[^=\n]*= \((.*?)\)", re.MULTILINE | re.DOTALL)

ARCHITECTURES, PROJECTORS = "architectures", "projectors"


@cache
def read(folder: str = ARCHITECTURES) -> Mapping[str, str]:
    """The names in CLASSES of every file of a folder beside this one, which are literals -> the file's module."""
    path = os.path.join(os.path.dirname(__file__), folder)
    found: dict[str, str] = {}
    for name in sorted(os.listdir(path)):
        if name.endswith(".py") and not name.startswith("_"):
            with open(os.path.join(path, name), encoding="utf-8") as file:
                for names in _CLASSES.findall(file.read()):
                    found.update(dict.fromkeys(re.findall(r'"(\w+)"', names), name[:-3]))
    return found
