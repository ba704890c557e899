"""The supported classes of checkpoints, read from the source of a folder's files: importing all of them takes longer than planning."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from modelbuild.errors import Error
from modelbuild.words import as_text, got
from modelbuild.words import nearest as _nearest

_HEAD = r"(?i)(?:For(?:Causal|Conditional|Sequence|Token|Masked|Question)\w*|LMHeadModel|TextModel|Model)$"
_MTP = "\n    MTP = True\n"

ARCHITECTURES, PROJECTORS = "architectures", "projectors"


@cache
def read(folder: str = ARCHITECTURES) -> Mapping[str, str]:
    """The names in CLASSES and ALIASES of every file of a folder beside this one, which are literals -> the file's module."""
    return {name: module for module, text in _texts(folder).items() for name in _named(text)}


def nearest(name: str) -> str | None:
    """The supported class that is most like another: of the same model with another head, or of one that is spelled almost so."""
    by_stem: dict[str, list[str]] = {}
    for known in read():
        by_stem.setdefault(re.sub(_HEAD, "", known).casefold(), []).append(known)
    stem = re.sub(_HEAD, "", name).casefold()
    near = _nearest(stem[:64], by_stem, 0.7)
    return min(
        by_stem.get(near or "", ()),
        key=lambda each: (not each.endswith("ForCausalLM"), sum(map(str.isupper, each)), each),
        default=None,
    )


def checked(value: Any) -> str | None:
    """A class as config.json names it; None for "". Raises Error, without a place, for what can be no class."""
    text = as_text(value)
    if text and not re.fullmatch(r"[A-Za-z_]\w{0,127}", text, re.ASCII):
        raise Error(f"'architecture' expects a class such as 'LlamaForCausalLM', got {got(text)}")
    return text or None


@cache
def with_mtp() -> frozenset[str]:
    """Those whose checkpoints may have blocks for the prediction of several tokens: their file says MTP."""
    return frozenset(name for text in _texts(ARCHITECTURES).values() if _MTP in text for name in _named(text))


def _named(text: str) -> Iterator[str]:
    for attribute in ("CLASSES", "ALIASES"):
        for said in text.split(f"\n    {attribute}")[1:]:
            head, _, names = said.partition(" = (")
            if "\n" not in head:
                yield from re.findall(r'"(\w+)"', names.partition(")")[0])


@cache
def _texts(folder: str) -> Mapping[str, str]:
    path = os.path.join(os.path.dirname(__file__), folder)
    found: dict[str, str] = {}
    for name in sorted(os.listdir(path)):
        if name.endswith(".py") and not name.startswith("_"):
            with open(os.path.join(path, name), encoding="utf-8") as file:
                found[name[:-3]] = file.read()
    return found
