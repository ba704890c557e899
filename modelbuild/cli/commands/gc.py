"""Remove what nothing needs from the cache.

What installed models and existing projects need stays. Without options, what was not used for 30 days is removed, and
what is above the limit of the cache. What is large and quickly made goes first. Builds may be running.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild import interrupt
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.sentences import BESIDE, no_cache, waiting
from modelbuild.errors import Error
from modelbuild.words import plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.engine.garbage import Collected, Held, Limits
    from modelbuild.session.artifact_kinds import Kind


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Age, Size

    return [
        click.Option(
            ["--max-size"], type=Size(), metavar="SIZE", help="Bring the cache under this size, such as 50GB."
        ),
        click.Option(
            ["--older-than"],
            type=Age(),
            metavar="AGE",
            help="Remove what was not used for so long, such as 30d or 12h.",
        ),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Print what would be removed; remove nothing."),
    ]


def run(call: Invocation, max_size: int | None = None, older_than: float | None = None, dry_run: bool = False) -> int:
    from modelbuild.engine import garbage
    from modelbuild.engine.store import Store
    from modelbuild.session import artifact_kinds, collecting
    from modelbuild.session.interrupted import spares_of_all
    from modelbuild.session.settings import cache_folder

    report, folder = call.report, cache_folder(call.settings)
    asked = collecting.limits(max_size, older_than)
    if not os.path.lexists(folder):
        if report.as_json:
            report.data(
                {"cache": folder, "removed": [], "bytes": 0, "left_bytes": 0, "needed_bytes": 0, "dry_run": dry_run}
            )
        report.note(no_cache(folder))
        return GOOD
    store = Store(folder, lambda path: report.note(waiting(path)))
    try:
        collecting.retain(call.settings, store)
        folders = collecting.models_folders(call.settings)
        there = [*garbage.held(store), *spares_of_all(store, folders)]
        kinds = {each.path: artifact_kinds.kind(each.path) for each in there}
        # Ctrl-C is heard when what is gone is forgotten.
        with interrupt.deferred(lambda: None):
            collected = collecting.collect(store, asked, dry_run, folders)
        kinds |= {each.path: artifact_kinds.kind(each.path) for each in collected.removed if each.path not in kinds}
    except Error as error:
        report.errors([error])
        return FAILED
    finally:
        store.close()
    if report.as_json:
        report.data(
            {
                "cache": store.root,
                "removed": [
                    {"artifact": each.artifact, "kind": kinds.get(each.path, "text"), "bytes": each.size}
                    for each in collected.removed
                ],
                "bytes": sum(each.size for each in collected.removed),
                "left_bytes": collected.left,
                "needed_bytes": collected.needed,
                "dry_run": dry_run,
            }
        )
    else:
        _show(call, collected, asked, kinds, dry_run)
    return GOOD


def _show(call: Invocation, collected: Collected, asked: Limits, kinds: dict[str, Kind], dry_run: bool) -> None:
    report, left = call.report, size(collected.left)
    verb, stay = ("would remove", "would stay") if dry_run else ("removed", "stay")
    if collected.removed:
        freed = sum(each.size for each in collected.removed)
        report.result("\n".join(_lines(collected.removed, kinds, verb)))
        report.note(
            f"{verb} {plural(len(collected.removed), 'file')}, {size(freed)}; {left} {stay} in the cache{BESIDE}"
        )
    elif collected.needed == collected.left:
        report.note(f"nothing to remove: installed models and projects need all {left} of the cache")
    else:
        unneeded = size(collected.left - collected.needed)
        report.note(f"nothing to remove: {unneeded} of {left} are not needed, but not old enough")
    if asked.size is not None and collected.left > asked.size:
        what = f"the cache stays above {size(asked.size)}: installed models and projects need {size(collected.needed)} of it"
        report.note(what)


def _lines(removed: Sequence[Held], kinds: dict[str, Kind], verb: str) -> list[str]:
    """A line for each kind of file, the largest first."""
    found: dict[Kind, list[int]] = {}
    for each in removed:
        found.setdefault(kinds.get(each.path, "text"), []).append(each.size)
    rows = sorted(found.items(), key=lambda row: -sum(row[1]))
    return [f"{verb}  {kind}: {plural(len(sizes), 'file')}, {size(sum(sizes))}" for kind, sizes in rows]
