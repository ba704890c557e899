"""Show what the models and the cache take of the disk.

OWN is the size of the blobs that only this model uses: what `rm` would free. Files with several names (hard links) are
counted once. With NAMEs, names or globs, only those models are shown. Works without a project.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.installed import is_named
from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.places import here, shown_path
from modelbuild.cli.tables import Column, table
from modelbuild.ollama.library import SCRATCH
from modelbuild.words import size

if TYPE_CHECKING:
    import click

    from modelbuild.ollama.library import Library
    from modelbuild.session.usage import ModelUse, Usage

_MODELS = [
    Column("NAME", wrap=True),
    Column("SIZE", right=True),
    Column("OWN", right=True),
    Column("SHARED", right=True, drop=1),
]
_CACHE = [
    Column("CACHE"),
    Column("FILES", right=True),
    Column("SIZE", right=True),
    Column("ALSO IN A MODELS FOLDER", right=True, drop=1),
]


def parameters() -> list[click.Parameter]:
    import click

    return [click.Argument(["names"], nargs=-1, metavar="[NAME]...")]


def run(call: Invocation, names: Sequence[str] = ()) -> int:
    from modelbuild.engine.store import Store
    from modelbuild.ollama.library import Library
    from modelbuild.session import collecting
    from modelbuild.session.models_root import models_root
    from modelbuild.session.settings import cache_folder
    from modelbuild.session.usage import usage

    with call.writing_nothing() as looking:
        library = Library(models_root(looking.settings))
        store = Store(cache_folder(looking.settings))
        try:
            # As `gc` does, so that both mean the same by what nothing needs.
            collecting.retain(looking.settings, store)
            found = usage(store, library)
        finally:
            store.close()
        is_shown = [each for each in found.models if not names or any(is_named(each.name, text) for text in names)]
        models = sorted(is_shown, key=lambda each: (-each.size, each.name))
        cache = cache_folder(call.settings)
        if call.report.as_json:
            call.report.data(_data(found, models, cache, library))
        else:
            _show(call, found, models, cache, library, whole=not names)
    return GOOD


def _show(
    call: Invocation, found: Usage, models: Sequence[ModelUse], cache: str, library: Library, *, whole: bool
) -> None:
    report = call.report
    if models:
        rows = [[each.name.display(), size(each.size), size(each.own), size(each.shared)] for each in models]
        report.result(table(_MODELS, rows, report.width))
    elif not whole:
        report.note(f"no model in {library.root} has such a name")
    if not whole:
        return
    kinds = [[each.kind, f"{each.files:,}", size(each.size), size(each.linked)] for each in found.kinds]
    kinds.append(["database", "", size(found.database), ""])
    report.result(("\n" if models else "") + table(_CACHE, kinds, report.width))
    left = os.path.join(library.root, SCRATCH)
    named = [
        ["models folder", size(found.blobs), shown_path(library.root, here())],
        *([["unfinished", size(found.stopped), shown_path(left, here())]] if found.stopped else []),
        *([["spare", size(found.spare), shown_path(left, here())]] if found.spare else []),
        ["cache", size(_cached(found)), shown_path(cache, here())],
        ["all" if found.stopped or found.spare else "both", size(found.total), ""],
    ]
    report.result("\n" + table([Column("FOLDER"), Column("SIZE", right=True), Column("PATH", wrap=True)], named))
    if found.stopped:
        report.note(
            f"{size(found.stopped)} are unfinished layers and downloads of the models folder: the next build or pull goes on "
            "with them; `modelbuild gc --older-than 0d` removes them"
        )
    if found.spare:
        report.note(
            f"{size(found.spare)} are spare layers: no model of the models folder uses them, and a revert needs no computation with "
            "them; `modelbuild gc` removes what is old of it"
        )
    if found.unused:
        report.note(f"{size(found.unused)} of the models folder are blobs that no model uses")
    if found.free:
        report.note(f"nothing needs {size(found.free)} of the cache: `modelbuild gc` removes what is old of it")


def _cached(found: Usage) -> int:
    return sum(each.size for each in found.kinds) + found.database


def _data(found: Usage, models: Sequence[ModelUse], cache: str, library: Library) -> dict[str, Any]:
    return {
        "models": [
            {"name": each.name.display(), "bytes": each.size, "own_bytes": each.own, "shared_bytes": each.shared}
            for each in models
        ],
        "models_folder": {
            "path": library.root,
            "bytes": found.blobs,
            "unused_bytes": found.unused,
            "unfinished_bytes": found.stopped,
            "spare_bytes": found.spare,
        },
        "cache": {
            "path": cache,
            "bytes": _cached(found),
            "kinds": [
                {"kind": each.kind, "files": each.files, "bytes": each.size, "linked_bytes": each.linked}
                for each in found.kinds
            ],
            "database_bytes": found.database,
            "free_bytes": found.free,
        },
        "bytes": found.total,
    }
