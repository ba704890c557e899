"""What of the cache may go: everything that no installed model and no project needs, by its age and by what it costs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from modelbuild.engine import garbage
from modelbuild.engine.garbage import Collected, Held, Limits
from modelbuild.engine.history import History
from modelbuild.engine.store import Store
from modelbuild.errors import Error, Errors
from modelbuild.ollama.library import Library, Users
from modelbuild.session import interrupted
from modelbuild.session.session import Session
from modelbuild.session.settings import Settings, cache_limit

DAYS = 30
"""Days for which what nothing needs is kept where nobody says."""


def limits(size: int | None, age: float | None) -> Limits:
    """What was asked for, or else what is kept where nobody asks."""
    return Limits(size, age) if (size, age) != (None, None) else Limits(cache_limit(), DAYS * 86400.0)


def needed(store: Store) -> set[str]:
    """What projects need, and what the manifests of every models folder name that we have written to."""
    found = garbage.needed_by_projects(store)
    for (folder,) in store.database.rows("select distinct folder from wrote"):
        found |= Users(Library(folder).manifests).used() or set()
    return found


def collect(store: Store, asked: Limits, dry_run: bool, folders: Sequence[str] = ()) -> Collected:
    """Remove what may go, and forget what has gone. Raises Error.

    folders  models folders to look into besides those that are known
    """
    movable = [*_unused(interrupted.in_cache(store)), *interrupted.spares_of_all(store, folders)]
    collected = garbage.collect(store, asked, needed(store), dry_run, movable)
    if asked.age is not None:
        oldest = time.time() - asked.age
        others = [each for each in _unused(interrupted.in_models_folders(store, folders)) if each.used <= oldest]
        gone = [each for each in others if dry_run or interrupted.remove(each)]
        collected = collected._replace(removed=[*collected.removed, *gone])
    if not dry_run:
        with contextlib.suppress(OSError):
            garbage.tidy(store)
    return collected


def models_folders(settings: Settings) -> list[str]:
    """The models folder that a command works with, if it can be told."""
    from modelbuild.session.models_root import models_root

    with contextlib.suppress(Error, Errors):
        return [models_root(settings)]
    return []


def _unused(found: Sequence[Held]) -> list[Held]:
    return [each for each in found if not interrupted.is_in_use(each)]


def retain(settings: Settings, store: Store) -> None:
    """Forget the steps that projects have no longer, of each that can tell all it has: what they made is needed no more."""
    from modelbuild.project.discovery import find
    from modelbuild.session.settings import folder_of

    here = None
    with contextlib.suppress(Error, Errors):
        if settings.file is not None or find(folder_of(settings)) is not None:
            here = _retain(settings, store)
    for project in garbage.projects(store):
        if project != here:
            with contextlib.suppress(Error, Errors):
                _retain(Settings(os.path.dirname(project), project, cache=store.root), store)


def _retain(settings: Settings, store: Store) -> str:
    session = Session(settings)
    try:
        if not session.broken:
            History(store.database, session.file).retain(session.graph.steps)
        return session.file
    finally:
        session.close()
