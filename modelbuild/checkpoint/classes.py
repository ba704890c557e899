"""The supported classes of checkpoints, read from the source of a folder's files: importing all of them takes longer than planning."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache

_CLASSES = re.compile(r"^    CLASSES\b[^=\n]*= \((.*?)\)", re.MULTILINE | re.DOTALL)

_MTP = re.compile(r"^    MTP = True$", re.MULTILINE)

ARCHITECTURES, PROJECTORS = "architectures", "projectors"


@cache
def read(folder: str = ARCHITECTURES) -> Mapping[str, str]:
    """The names in CLASSES of every file of a folder beside this one, which are literals -> the file's module."""
    return {name: module for module, text in _texts(folder).items() for name in _named(text)}


@cache
def with_mtp() -> frozenset[str]:
    """Those whose checkpoints may have blocks for the prediction of several tokens: their file says MTP."""
    return frozenset(name for text in _texts(ARCHITECTURES).values() if _MTP.search(text) for name in _named(text))


def _named(text: str) -> Iterator[str]:
    for names in _CLASSES.findall(text):
        yield from re.findall(r'"(\w+)"', names)


@cache
def _texts(folder: str) -> Mapping[str, str]:
    path = os.path.join(os.path.dirname(__file__), folder)
    found: dict[str, str] = {}
    for name in sorted(os.listdir(path)):
        if name.endswith(".py") and not name.startswith("_"):
            with open(os.path.join(path, name), encoding="utf-8") as file:
                found[name[:-3]] = file.read()
    return found
