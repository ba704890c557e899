"""Which artifacts of the store may go, and in which order: what is huge and cheap to make before what is small and dear."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Sequence

from modelbuild.engine.store import Store
from modelbuild.engine.tensor_index import TensorIndex
from modelbuild.files import UNFINISHED, abandoned, clear_temporaries
from modelbuild.tuples import NamedTuple

COPIED = 500e6
"""Bytes that a step makes in a second where nothing is known of it."""

FREE_PAGES = 16 << 20
"""Bytes of the database that are free from which on it is written anew without them."""


class Held(NamedTuple):
    """A file of the store that takes space of its own: with a second link its bytes are a models folder's as well.

    artifact  None for one that was set aside, or is unfinished
    seconds   how long it took to make
    used      when it was last of use, in seconds since 1970
    """

    path: str
    artifact: str | None
    size: int
    seconds: float
    used: float


class Limits(NamedTuple):
    """What is to be removed: what is beyond so many bytes, and what was not used for so many seconds; None: nothing for that."""

    size: int | None = None
    age: float | None = None


class Collected(NamedTuple):
    """What was removed, and what the store's own files take: those that stay, and those of them that are needed."""

    removed: Sequence[Held]
    left: int
    needed: int


def needed_by_projects(store: Store) -> set[str]:
    """What the last builds of projects that are still there made or used."""
    query = "select artifact from action where digest in (select digest from last where project in ({}))"
    return {artifact for (artifact,) in store.database.rows_in(query, projects(store))}


def projects(store: Store) -> list[str]:
    """The files of the projects that were built and are still there."""
    rows = store.database.rows("select distinct project from last")
    return [project for (project,) in rows if os.path.exists(project)]


def held(store: Store) -> list[Held]:
    """The files of the store that take space of their own, the first to go first."""
    found = placed(store, [(path, info) for path, info in store.contents().items() if info.st_nlink == 1])
    found += [Held(path, None, info.st_size, 0.0, info.st_ctime) for path, info in store.aside().items()]
    return sorted(found, key=_worth)


def placed(store: Store, files: Sequence[tuple[str, os.stat_result]]) -> list[Held]:
    """Files of artifacts, with what is known of their worth."""
    costs: dict[str, tuple[float, float]] = {}
    if files:
        costs = {row[0]: row[1:] for row in store.database.rows("select artifact, seconds, used from cost")}
    found = []
    for path, info in files:
        artifact = os.path.basename(path).replace("-", ":", 1)
        seconds, used = costs.get(artifact, (0.0, 0.0))
        found.append(Held(path, artifact, info.st_size, seconds, max(used, info.st_mtime)))
    return found


def _worth(each: Held) -> tuple[float, str]:
    """Seconds of work that its bytes save for each second that they have lain there unused."""
    seconds = 0.0 if each.artifact is None else each.seconds or each.size / COPIED
    age = max(1.0, time.time() - each.used)
    return seconds / (age * max(1, each.size)), each.path


def collect(
    store: Store,
    limits: Limits,
    needed: Collection[str] = (),
    dry_run: bool = False,
    others: Sequence[Held] = (),
) -> Collected:
    """Remove what is beyond the limits and not needed; `others` are unfinished files and spare artifacts, as far as they may go.

    Builds may be under way: one that has looked up an artifact which goes now makes it again.
    """
    files = sorted([*held(store), *others], key=_worth)
    total = sum(each.size for each in files)
    kept = sum(each.size for each in files if each.artifact in needed)
    oldest = None if limits.age is None else time.time() - limits.age
    removed = []
    for each in files:
        is_old = oldest is not None and each.used <= oldest
        is_beyond = limits.size is not None and total > limits.size
        if each.artifact not in needed and (is_old or is_beyond) and (dry_run or _unlink(each)):
            removed.append(each)
            total -= each.size
    if not dry_run:
        _forget(store, [each.artifact for each in removed if each.artifact is not None])
    return Collected(removed, total, kept)


def _unlink(each: Held) -> bool:
    """Remove a file, unless it has been linked into a models folder since we looked: then nothing would be freed."""
    if os.path.basename(each.path).startswith(UNFINISHED):
        return unlink_unfinished(each.path)
    try:
        if os.stat(each.path, follow_symlinks=False).st_nlink > 1:
            return False
        os.unlink(each.path)
    except OSError:
        return False
    return True


def unlink_unfinished(path: str) -> bool:
    """Remove an unfinished file, unless a build writes it; returns whether it is gone. Never raises."""
    for entry in abandoned(os.path.dirname(path), os.path.basename(path)):
        with contextlib.suppress(OSError):
            os.unlink(entry.path)
    return not os.path.lexists(path)


def _forget(store: Store, artifacts: Sequence[str]) -> None:
    """Forget what was looked up through artifacts, as far as they lie nowhere else."""
    gone = [artifact for artifact in artifacts if store.path(artifact) is None]
    if gone:
        store.forget_all(gone)


def evict(store: Store, limit: int, others: Sequence[Held] = ()) -> int:
    """Bring the store, and `others` with it, under `limit` bytes, with what projects need last. Returns the bytes freed."""
    if store.own_size + sum(each.size for each in others) <= limit:
        return 0
    first = collect(store, Limits(size=limit), needed_by_projects(store), others=others)
    freed = sum(each.size for each in first.removed)
    if first.left > limit:
        left = [each for each in others if each not in first.removed]
        freed += sum(each.size for each in collect(store, Limits(size=limit), others=left).removed)
    return freed


def tidy(store: Store) -> None:
    """Forget the tensors of all that is gone, whoever removed it; and what killed builds left."""
    clear_temporaries(store.scratch)
    index, notes = TensorIndex(store.database), store.notes
    gone = [
        blob for blob in {*index.holders(), *notes.names()} if store.path(blob) is None and not _is_placed(store, blob)
    ]
    store.forget_all(gone)
    index.sweep()
    _shrink(store)


def _is_placed(store: Store, blob: str) -> bool:
    note = store.notes.read(blob)
    return note is not None and any(map(os.path.isfile, note.places))


def _shrink(store: Store) -> None:
    """Give the free pages of the database back to the disk, if they are many."""
    database = store.database
    ((free, size),) = database.rows("select freelist_count, page_size from pragma_freelist_count, pragma_page_size")
    if free * size > FREE_PAGES:
        database.rows("vacuum")
