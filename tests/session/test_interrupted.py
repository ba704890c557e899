"""What stopped commands left is found, and goes unless somebody writes it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from modelbuild.engine.garbage import Limits
from modelbuild.engine.store import Store
from modelbuild.files import PARTIAL, UNFINISHED
from modelbuild.ollama.library import SCRATCH, Library
from modelbuild.registry.partial import JOURNAL, Blob, Partial
from modelbuild.session import collecting, interrupted
from modelbuild.session.usage import usage

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def leave(store: Store, models: Path) -> list[str]:
    """A layer in the cache, and another one and a download in a models folder."""
    scratch = models / SCRATCH
    scratch.mkdir(parents=True)
    paths = [Path(store.scratch) / f"{UNFINISHED}one", scratch / f"{UNFINISHED}two"]
    for path in paths:
        path.write_bytes(bytes(10_000))
    with Partial(str(scratch), Blob(DIGEST, 20_000)) as partial:
        partial.write(0, b"x" * 10_000)
        partial.note(0, 10_000)
    return [*map(str, paths), partial.path]


def test_each_is_counted_and_goes_when_it_is_old_enough(store: Store, tmp_path: Path) -> None:
    models = tmp_path / "models"
    paths = leave(store, models)
    found = [*interrupted.in_cache(store), *interrupted.in_models(Library(str(models)))]
    assert {each.path for each in found} == set(paths) and min(each.size for each in found) >= 10_000
    use = usage(store, Library(str(models)))
    assert [(each.kind, each.files, each.size) for each in use.kinds] == [("unfinished", 1, found[0].size)]
    assert use.free == found[0].size and use.stopped == sum(each.size for each in found[1:])
    assert use.total == use.database + use.free + use.stopped
    for path in paths:
        os.utime(path, (time.time() - 3600,) * 2)

    def gone(limits: Limits, *, dry_run: bool = False) -> set[str]:
        return {each.path for each in collecting.collect(store, limits, dry_run, [str(models)]).removed}

    assert gone(Limits(age=7200.0)) == set()
    assert gone(Limits(size=0), dry_run=True) == {paths[0]}
    assert gone(Limits(age=0.0), dry_run=True) == set(paths) and all(map(os.path.exists, paths))
    assert gone(Limits(age=1800.0)) == set(paths)
    assert os.listdir(models / SCRATCH) == [] and usage(store, Library(str(models))).stopped == 0


def test_what_somebody_writes_stays_and_nothing_says_it_can_be_freed(store: Store, tmp_path: Path) -> None:
    models = tmp_path / "models"
    first, second, download = leave(store, models)
    locked = [os.open(path, os.O_RDONLY) for path in (first, second)]
    for descriptor in locked:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with Partial(os.path.dirname(download), Blob(DIGEST, 20_000)) as partial:
        assert partial.resumed == 10_000
        assert usage(store, Library(str(models))).free == 0
        assert collecting.collect(store, Limits(age=0.0), True, [str(models)]).removed == []
        found = [*interrupted.in_cache(store), *interrupted.in_models(Library(str(models)))]
        assert not any(map(interrupted.remove, found))
    assert all(map(os.path.exists, (first, second, download, download + JOURNAL)))
    for descriptor in locked:
        os.close(descriptor)
    assert all(map(interrupted.remove, found))


def test_nothing_else_counts(store: Store, tmp_path: Path) -> None:
    scratch = tmp_path / SCRATCH
    scratch.mkdir()
    (scratch / "lock").write_text("")
    (scratch / f"{UNFINISHED}link").symlink_to(tmp_path / "elsewhere")
    (scratch / f"{PARTIAL}folder").mkdir()
    assert interrupted.in_models(Library(str(tmp_path))) == interrupted.in_cache(store) == []
    assert interrupted.in_models_folders(store, [str(tmp_path / "none")]) == []
