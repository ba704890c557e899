"""Remove what this project wrote: models, outputs and exports.

Files that somebody else wrote or changed stay. --stale removes only names that the project no longer
declares. --cache (after the command) empties the cache of all projects instead; what was in it can be made again.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild import interrupt
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.places import here, shown_path
from modelbuild.cli.sentences import BESIDE, no_cache
from modelbuild.errors import Error, Errors
from modelbuild.ollama.name import displayed
from modelbuild.project.broken import told
from modelbuild.words import listed, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.cli.report import Report
    from modelbuild.engine.garbage import Held
    from modelbuild.engine.store import Store
    from modelbuild.publish.models_folder import ModelsFolder


def parameters() -> list[click.Parameter]:
    import click

    return [
        click.Option(["--stale"], is_flag=True, help="Remove only names that are no longer declared."),
        click.Option(["--cache", "whole_cache"], is_flag=True, help="Empty the cache instead."),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Print what would be removed; remove nothing."),
    ]


def run(call: Invocation, stale: bool = False, whole_cache: bool = False, dry_run: bool = False) -> int:
    if whole_cache and stale:
        raise Error("--stale and --cache cannot be used together", hint="leave one of them out")
    return _cache(call, dry_run) if whole_cache else _models(call, stale, dry_run)


def _models(call: Invocation, stale: bool, dry_run: bool) -> int:
    from modelbuild.session import exports, interrupted

    session, report = call.session, call.report
    if session.part_file is not None:
        what = "what the whole project wrote"
        if stale:
            what += " and no longer declares"
        command = f"modelbuild -C {shlex.quote(session.root)} clean{' --stale' if stale else ''}"
        hint = f"`{command}` removes all of it"
        raise Error(f"clean removes {what}, and this is the folder of a part", hint=hint)
    models = session.models
    if stale and (untold := [each for each in session.broken if each.names is None]):
        labels = listed(f"'{each.label}'" for each in untold)
        what = f"cannot tell which names are stale: the names of {labels} are unknown"
        raise Errors([*told(untold), Error(what, hint="fix the errors above first; nothing was removed")])
    names = session.stale() if stale else models.stale(())
    files = exports.stale_files(session) if stale else exports.written_files(session)
    sizes = {blob: models.library.size(blob) for blob in models.written.blobs()}
    unfinished = [] if stale else interrupted.layers(models.library)
    spares = [] if stale else interrupted.spares(session.store, models.library)
    try:
        # Ctrl-C is heard when nothing is half removed.
        with interrupt.deferred(lambda: None):
            blobs: list[str] = []
            if not dry_run:
                unfinished = [each for each in unfinished if interrupted.remove(each)]
                if spares:
                    models.spares.clear()
                names, blobs = _remove(models, names)
                files = exports.remove_files(session, files)
    except Error as error:
        report.errors([error])
        return FAILED
    shown = [*map(displayed, names), *(shown_path(file, here()) for file in files)]
    left_over = sum(each.size for each in (*unfinished, *spares))
    freed = sum(sizes.get(blob) or 0 for blob in blobs)
    if report.as_json:
        report.data(
            {
                "names": [*map(displayed, names)],
                "files": files,
                "blobs": blobs,
                "unfinished": [each.path for each in unfinished],
                "spare": [each.path for each in spares],
                "bytes": freed + left_over,
                "dry_run": dry_run,
            }
        )
        return GOOD
    verb = "would remove" if dry_run else "removed"
    if shown:
        report.result("\n".join(f"{verb}  {name}" for name in shown))
    _left_over(report, verb, unfinished, spares)
    if not shown and not left_over:
        report.note("nothing to remove")
    elif shown and not dry_run:
        beside = f", {plural(len(files), 'file')}" if files else ""
        report.note(f"removed {plural(len(names), 'name')} and {plural(len(blobs), 'blob')}, {size(freed)}{beside}")
    return GOOD


def _remove(models: ModelsFolder, names: Sequence[str]) -> tuple[list[str], list[str]]:
    try:
        removed, blobs = models.remove(names) if names else ([], [])
        with contextlib.suppress(OSError, Error):
            blobs += models.sweep(spare=False)
        return removed, blobs
    finally:
        with interrupt.put_off():
            models.tidy()


def _left_over(report: Report, verb: str, unfinished: Sequence[Held], spares: Sequence[Held]) -> None:
    for files, noun in ((unfinished, "unfinished file"), (spares, "spare layer")):
        if files:
            report.result(f"{verb}  {plural(len(files), noun)}, {size(sum(each.size for each in files))}")


_FULL = "the disk is still so full that the database of the cache stays as it is; clean again when there is space"


def _opened(folder: str, dry_run: bool) -> tuple[Store | None, int, int]:
    """The cache, and the artifacts and bytes that had to go first: on a full disk, not even the database can be read.

    No cache if these did not free enough for that.
    """
    from modelbuild.engine.database import NO_SPACE
    from modelbuild.engine.room import make_room
    from modelbuild.engine.store import Store

    store = None
    try:
        store = Store(folder)
        store.contents()
        return store, 0, 0
    except Error as error:
        if store is not None:
            store.close()
        if error.what != NO_SPACE or dry_run:
            raise
        count, freed = make_room(folder)
        try:
            return Store(folder), count, freed
        except Error as still:
            if still.what != NO_SPACE or not count:
                raise
            return None, count, freed


def _cache(call: Invocation, dry_run: bool) -> int:
    from modelbuild.engine import spare
    from modelbuild.session import interrupted
    from modelbuild.session.settings import cache_folder

    report = call.report
    folder = cache_folder(call.settings)
    if not os.path.lexists(folder):
        if report.as_json:
            report.data({"cache": folder, "artifacts": 0, "bytes": 0, "dry_run": dry_run})
        report.note(no_cache(folder))
        return GOOD
    store, count, total = _opened(folder, dry_run)
    if store is None:
        if report.as_json:
            report.data({"cache": folder, "artifacts": count, "bytes": total, "dry_run": dry_run})
        else:
            report.result(f"removed  {plural(count, 'artifact')}, {size(total)}, from {folder}")
        report.note(_FULL)
        return GOOD
    has_forgotten = True
    try:
        contents = store.contents()
        count += len(contents)
        total += sum(info.st_size for info in contents.values() if info.st_nlink == 1)
        unfinished = [each for each in interrupted.in_cache(store) if not interrupted.is_in_use(each)]
        spares = interrupted.spares_of_all(store)
        left_over = sum(each.size for each in (*unfinished, *spares))
        strangers = store.strangers()
        if not dry_run:
            for each in spares:
                spare.remove(each.path)
            left, has_forgotten = store.clear()
            if left:
                raise Error(
                    f"{plural(left, 'artifact')} of the cache cannot be removed",
                    path=store.root,
                    hint="make the folder writable, or name another one with --cache or $MODELBUILD_CACHE",
                )
    except Error as error:
        report.errors([error])
        return FAILED
    finally:
        store.close()
    if report.as_json:
        report.data({"cache": store.root, "artifacts": count, "bytes": total + left_over, "dry_run": dry_run})
    else:
        verb = "would remove" if dry_run else "removed"
        # Their bytes stay where they are installed.
        is_shared = any(info.st_nlink > 1 for info in contents.values())
        shared = BESIDE if is_shared else ""
        report.result(f"{verb}  {plural(count, 'artifact')}, {size(total)}, from {store.root}{shared}")
        _left_over(report, verb, unfinished, spares)
        if strangers:
            blobs = os.path.join(store.root, "blobs")
            known = "are unknown to the cache and stay; delete the folder if it contains only a cache"
            report.note(f"{plural(len(strangers), 'file')} in {blobs} {known}")
    if not has_forgotten:
        report.note(_FULL)
    return GOOD
