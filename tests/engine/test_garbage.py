"""What leaves the store: never what is needed, what is cheap and huge first, and the index forgets it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelbuild.engine import garbage
from modelbuild.engine.action import Action, ActionResult, Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.garbage import Limits, collect, held, needed_by_projects, tidy
from modelbuild.engine.history import History
from modelbuild.engine.store import DAMAGED, Store
from modelbuild.engine.tensor_index import TensorIndex

DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def action(name: str) -> Action:
    return Action("join", 1, "{}", (("0", f"xxh3:{name}"),))


def keep(store: Store, data: bytes, *, seconds: float = 0.0, days: float = 0.0) -> ActionResult:
    """An artifact that took so long to make, and was not used for so many days."""
    result = store.put(data)
    key = f"xxh3:{len(data):032x}"
    tensors = ((key, Range(result.artifact, 0, len(data), key)),)
    LocalCache(store).record(action(data[:9].decode()).digest, Made(result, tensors, seconds=seconds))
    then = time.time() - days * DAY
    store.database.change(("update cost set used = ? where artifact = ?", [(then, result.artifact)]))
    os.utime(str(store.path(result.artifact)), (then, then))
    return result


def names(store: Store) -> set[str]:
    return {os.path.basename(path).replace("-", ":") for path in store.contents()}


def test_what_is_cheap_and_huge_goes_before_what_is_dear_and_small(store: Store) -> None:
    dear = keep(store, b"d" * 1000, seconds=600, days=10)
    cheap = keep(store, b"c" * 100_000, seconds=0.1, days=10)
    middle = keep(store, b"m" * 50_000, seconds=60, days=10)
    assert [each.artifact for each in held(store)] == [each.artifact for each in (cheap, middle, dear)]
    collected = collect(store, Limits(size=60_000))
    assert [each.artifact for each in collected.removed] == [cheap.artifact]
    assert collected.left == 51_000
    assert names(store) == {dear.artifact, middle.artifact}


def test_of_two_alike_the_one_that_was_not_used_for_longer_goes_first(store: Store) -> None:
    keep(store, b"n" * 1000, seconds=1, days=1)
    old = keep(store, b"o" * 1000, seconds=1, days=50)
    assert [each.artifact for each in collect(store, Limits(size=1500)).removed] == [old.artifact]


def test_only_what_is_old_goes_where_an_age_is_said(store: Store) -> None:
    keep(store, b"n" * 10, days=29)
    old = keep(store, b"o" * 1000, days=31)
    assert [each.artifact for each in collect(store, Limits(age=30 * DAY)).removed] == [old.artifact]
    assert collect(store, Limits()).removed == []


def test_what_is_needed_stays_and_is_counted(store: Store) -> None:
    one, other = keep(store, b"n" * 100, days=90), keep(store, b"o" * 1000, days=90)
    collected = collect(store, Limits(0, 0.0), {one.artifact})
    assert [each.artifact for each in collected.removed] == [other.artifact]
    assert (collected.left, collected.needed) == (100, 100)


def test_a_dry_run_removes_nothing(store: Store) -> None:
    one = keep(store, b"n" * 100, days=90)
    assert [each.artifact for each in collect(store, Limits(size=0), dry_run=True).removed] == [one.artifact]
    assert names(store) == {one.artifact}
    assert store.notes.names() == [one.artifact]


def test_what_a_models_folder_shares_stays_also_if_it_was_linked_just_now(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = keep(store, b"n" * 100), keep(store, b"o" * 200)
    os.link(str(store.path(one.artifact)), tmp_path / "one")
    files = held(store)
    assert [each.artifact for each in files] == [other.artifact]
    os.link(str(store.path(other.artifact)), tmp_path / "other")
    monkeypatch.setattr(garbage, "held", lambda store: files)
    assert collect(store, Limits(size=0)).removed == []


def test_the_index_forgets_what_is_gone_and_no_other(store: Store) -> None:
    old, new = keep(store, b"o" * 1000, days=50), keep(store, b"n" * 100)
    collect(store, Limits(age=DAY))
    index = TensorIndex(store.database)
    assert index.holders() == [new.artifact] == store.notes.names()
    assert store.database.rows("select count(*) from tensor") == [(1,)]
    # Somebody else removes the other one.
    Path(str(store.path(new.artifact))).unlink()
    tidy(store)
    assert index.holders() == [] == store.notes.names()
    assert store.database.rows("select count(*) from tensor") == [(0,)]
    assert old != new


def test_what_lies_in_a_models_folder_too_is_not_forgotten(store: Store, tmp_path: Path) -> None:
    one = keep(store, b"o" * 1000, days=50)
    there = tmp_path / one.artifact.replace(":", "-")
    there.write_bytes(b"o" * 1000)
    store.note_location(one.artifact, str(there))
    assert len(collect(store, Limits(size=0)).removed) == 1
    tidy(store)
    assert TensorIndex(store.database).holders() == [one.artifact] == store.notes.names()
    assert store.path(one.artifact) == str(there)


def test_projects_that_are_there_need_what_their_last_builds_made(store: Store, tmp_path: Path) -> None:
    (tmp_path / "there.toml").write_text("")
    one, other, gone = keep(store, b"one"), keep(store, b"other"), keep(store, b"gone")
    there = History(store.database, str(tmp_path / "there.toml"))
    there.remember({"a": action("one"), "b": action("other")})
    History(store.database, str(tmp_path / "gone.toml")).remember({"a": action("gone")})
    assert needed_by_projects(store) == {one.artifact, other.artifact}
    there.retain({"a"})
    assert needed_by_projects(store) == {one.artifact}
    assert gone.artifact not in needed_by_projects(store)


def test_what_a_project_needs_no_more_was_of_use_until_now(store: Store, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("")
    history = History(store.database, str(tmp_path / "p.toml"))
    keep(store, b"one", days=90)
    keep(store, b"two", days=90)
    history.remember({"a": action("one"), "b": action("two")})
    history.remember({"a": action("three")})
    history.retain({"a"})
    assert collect(store, Limits(age=DAY), needed_by_projects(store)).removed == []


def test_what_was_set_aside_goes_first(store: Store) -> None:
    keep(store, b"n" * 1000, days=50)
    aside = Path(store.root, DAMAGED)
    aside.mkdir()
    (aside / "sha256-0").write_bytes(b"x" * 100)
    collected = collect(store, Limits(size=1000))
    assert [each.path for each in collected.removed] == [str(aside / "sha256-0")]
    assert not (aside / "sha256-0").exists()
    (aside / "sha256-1").write_bytes(b"x")
    store.clear()
    assert not (aside / "sha256-1").exists()


def test_a_build_evicts_what_projects_need_last(store: Store, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("")
    needed, other = keep(store, b"one" * 1000, days=90), keep(store, b"two" * 100)
    History(store.database, str(tmp_path / "p.toml")).remember({"a": action("oneoneone")})
    assert garbage.evict(store, 3300) == 0
    assert garbage.evict(store, 3000) == other.size
    assert garbage.evict(store, 10) == needed.size
    assert names(store) == set()


def test_many_free_pages_of_the_database_are_given_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "FREE_PAGES", 100_000)
    store.database.change(("insert into kept values ('x', ?)", [(bytes(1_000_000),)]))
    store.database.change(("delete from kept", [()]))
    tidy(store)
    assert store.database.rows("pragma freelist_count") == [(0,)]
