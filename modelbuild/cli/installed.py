"""The models of a models folder as a table, and what is wrong in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.tables import Column, table
from modelbuild.ollama.library import Library
from modelbuild.ollama.name import Name
from modelbuild.ollama.survey import Installed, survey
from modelbuild.words import size

ID = 12
"""Digits of a manifest's digest that Ollama shows."""


def listing(call: Invocation, patterns: Sequence[str]) -> int:
    """Print the models whose names match; without patterns all of them."""
    from modelbuild.session.models_root import models_root

    library = Library(models_root(call.settings))
    found = survey(library)
    models = [each for each in found.models if not patterns or any(is_named(each.name, text) for text in patterns)]
    if call.report.as_json:
        call.report.data([_entry(each) for each in models])
    elif models:
        head = [
            Column("NAME", wrap=True),
            Column("ID", drop=2),
            Column("TYPE", drop=1),
            Column("SIZE", right=True),
            Column("MODIFIED", drop=3),
        ]
        call.report.result(table(head, [_cells(each) for each in models], call.report.width))
    else:
        call.report.note(f"no model in {library.root}" + (" has such a name" if found.models and patterns else ""))
    for fault in found.faults:
        call.report.warning(fault, told=True)
    return GOOD


def is_named(model: Name, text: str) -> bool:
    """Whether a text means a model: as a glob, or as the whole name, with or without its tag."""
    name = model.display()
    return fnmatchcase(name, text) or name == f"{text}:latest" or name.rpartition(":")[0] == text


def _entry(model: Installed) -> dict[str, object]:
    return {
        "name": model.name.display(),
        "manifest": model.digest,
        "size_bytes": model.size,
        "ftype": model.file_type,
        "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(model.modified)),
        "missing": list(model.missing),
    }


def _cells(model: Installed) -> list[str]:
    digits = model.digest.partition(":")[2][:ID]
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(model.modified))
    return [model.name.display(), digits, model.file_type or "-", size(model.size), day]
