"""Names of files and folders that every file system takes, and that tell models apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from modelbuild.ollama.name import NAMESPACE
from modelbuild.shapes._finished import Finished

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)

LOCAL = "local"
"""The publisher of models that have no namespace of their own."""


def safe(name: str) -> str:
    """A part of a model's name as that of a folder, or of a file without its ending; Windows takes some for devices, and drops dots."""
    name = name.rstrip(". ") or "_"
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def publisher(model: Finished) -> str:
    """The folder of a publisher."""
    return LOCAL if model.name.namespace.casefold() == NAMESPACE else safe(model.name.namespace)


def typed(models: Sequence[Finished]) -> Mapping[str, str]:
    """Label -> the stem of its files as repositories name them: `chat-Q4_K_M`; with the tag where types alone tell no two apart."""
    found = {each.label: _with_type(each.name.model, each.ftype) for each in models}
    twice = _twice([(_home(each), found[each.label]) for each in models])
    for each in models:
        if (_home(each), found[each.label].casefold()) in twice:
            found[each.label] = _with_type(f"{each.name.model}-{each.name.tag}", each.ftype)
    twice = _twice([(_home(each), found[each.label]) for each in models])
    for each in models:
        if (_home(each), found[each.label].casefold()) in twice:
            found[each.label] = _with_type(each.stem, each.ftype)
    return {label: safe(stem) for label, stem in found.items()}


def _home(model: Finished) -> tuple[str, str]:
    return publisher(model).casefold(), safe(model.name.model).casefold()


def _twice(stems: Sequence[tuple[tuple[str, str], str]]) -> set[tuple[tuple[str, str], str]]:
    counts = Counter((home, stem.casefold()) for home, stem in stems)
    return {each for each, count in counts.items() if count > 1}


def _with_type(stem: str, ftype: str) -> str:
    """A stem that ends in the type, which it may do already."""
    if not ftype or re.search(rf"(^|[-_.]){re.escape(ftype)}$", stem, re.IGNORECASE):
        return stem if not ftype else stem[: len(stem) - len(ftype)] + ftype
    return f"{stem}-{ftype}"
