"""The store: whatever happens to its files, it costs time and nothing else; what is not its own stays."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from modelbuild import files
from modelbuild.engine import store
from modelbuild.engine.action import ActionResult
from modelbuild.engine.store import Damaged, Kept, Range, Store
from modelbuild.errors import Error
from modelbuild.publish.models_folder import ModelsFolder

ACTION = "sha256:" + "a" * 64


@pytest.fixture
def cache(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def keep(cache: Store, text: bytes, action: str = ACTION) -> ActionResult:
    result = cache.put(text)
    cache.record(action, result)
    return result


def large(cache: Store) -> tuple[ActionResult, Path]:
    """An artifact that this process made, and that is too large to be read again without a reason."""
    data = bytes(store.SMALL + 1)
    with cache.temporary() as file:
        file.write(data)
        result = ActionResult("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
        cache.place(file.path, result.artifact, None)
    return result, Path(cache.root) / "blobs" / result.artifact.replace(":", "-")


# A cache that goes


def test_deleted_cache_is_made_again_in_the_middle(cache: Store) -> None:
    keep(cache, b"one")
    shutil.rmtree(cache.root)
    assert cache.results([ACTION]) == {}
    result = keep(cache, b"two")
    assert cache.read(result.artifact) == b"two"
    # Another process sees it too: it is the new database that was written.
    assert Store(cache.root).results([ACTION]) == {ACTION: result}


def test_contents_of_a_deleted_cache_are_none(cache: Store) -> None:
    shutil.rmtree(cache.root)
    assert cache.evict(0) == 0
    cache.clear()
    cache.drop_unfinished()


def test_database_that_another_process_replaced_is_opened_again(cache: Store) -> None:
    for suffix in ("", "-wal", "-shm"):
        os.unlink(f"{cache.root}/state.sqlite{suffix}")
    other = Store(cache.root)
    result = keep(other, b"one")
    assert cache.results([ACTION]) == {ACTION: result}


# Damage


@pytest.mark.parametrize("offset", [100, 4096, 3 * 4096])
def test_damaged_database_is_made_anew(tmp_path: Path, offset: int) -> None:
    cache = Store(str(tmp_path / "cache"))
    Kept(cache).put("key", b"x" * 10_000)
    keep(cache, b"one")
    cache.close()
    path = tmp_path / "cache/state.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    data = bytearray(path.read_bytes())
    data[offset : offset + 2000] = os.urandom(2000)
    path.write_bytes(data)
    cache = Store(str(tmp_path / "cache"))
    Kept(cache).get("key")
    result = keep(cache, b"two")
    cache.remember_last("p", {})
    assert cache.results([ACTION]) == {ACTION: result}
    cache.rows("select * from tensor")


def test_altered_rows_are_none(cache: Store) -> None:
    result = keep(cache, b"one")
    cache.record(ACTION, result, [("key", Range(result.artifact, 0, 3, "x"))])
    cache.change(
        ("update action set size = 'many'", [()]),
        ("update tensor set offset = 'far'", [()]),
        ("insert into last values ('p', 's', 'd', '[1')", [()]),
    )
    assert cache.results([ACTION]) == {}
    assert cache.tensors(["key"]) == {}
    assert cache.last("p", "s") is None


def test_older_database_loses_nothing(tmp_path: Path) -> None:
    cache = Store(str(tmp_path / "cache"))
    result = keep(cache, b"one")
    cache.close()
    with sqlite3.connect(tmp_path / "cache/state.sqlite") as db:
        db.execute("drop table loose")
        db.execute("pragma user_version = 2")
    db.close()
    cache = Store(str(tmp_path / "cache"))
    assert cache.results([ACTION]) == {ACTION: result}
    assert cache.loose("/m") == set()


def test_failed_change_changes_nothing_and_keeps_its_reason(cache: Store) -> None:
    with pytest.raises(Error, match="NOT NULL"):
        cache.change(("delete from action", [()]), ("insert into action values ('x', null, 1)", [()]))
    keep(cache, b"one")
    assert len(cache.results([ACTION])) == 1


def test_database_that_is_held_is_waited_for(cache: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    cache.waiting = told.append
    cache.rows("pragma busy_timeout = 20")
    other = sqlite3.connect(f"{cache.root}/state.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    timer = threading.Timer(0.3, lambda: other.execute("commit"))
    timer.start()
    keep(cache, b"one")
    timer.join()
    assert told == [f"{cache.root}/state.sqlite"]
    other.execute("begin immediate")
    monkeypatch.setattr(store, "BUSY", 0.05)
    with pytest.raises(Error, match="in use by another process"):
        keep(cache, b"two")
    other.close()


# What is not its own


def test_cache_in_a_models_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models/manifests").mkdir(parents=True)
    (tmp_path / "models/blobs").mkdir()
    with pytest.raises(Error, match="cannot be a models folder"):
        Store(str(tmp_path / "models"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/blobs").symlink_to(tmp_path / "models/blobs")
    with pytest.raises(Error, match="cannot be a models folder"):
        Store(str(tmp_path / "cache"))
    assert not (tmp_path / "models/state.sqlite").exists()
    for inside in ("models/blobs", "models/blobs/deeper", "models/manifests/h"):
        with pytest.raises(Error, match="cannot be a models folder"):
            Store(str(tmp_path / inside))
    assert not list((tmp_path / "models/blobs").iterdir())
    Store(str(tmp_path / "models/cache")).close()


def test_models_folder_that_is_the_cache_is_refused(tmp_path: Path) -> None:
    cache = Store(str(tmp_path / "models"))
    with pytest.raises(Error, match="same 'blobs' folder"):
        ModelsFolder(str(tmp_path / "models"), cache, "p").check_writable()


def test_only_what_the_database_knows_is_dropped(cache: Store) -> None:
    ours = keep(cache, b"ours")
    blobs = Path(cache.root) / "blobs"
    theirs = {f"sha256-{'0' * 64}", "thesis.txt", "sha256-00"}
    for name in theirs:
        (blobs / name).write_text("theirs")
    (blobs / "circle").symlink_to("circle")
    assert cache.evict(0) == ours.size
    assert {path.name for path in blobs.iterdir()} == {*theirs, "circle"}
    keep(cache, b"ours")
    assert len(cache.contents()) == 1
    assert set(cache.strangers()) == {*theirs, "circle"}
    cache.clear()
    assert {path.name for path in blobs.iterdir()} == {*theirs, "circle"}


def test_what_a_killed_build_placed_is_known(cache: Store) -> None:
    result, path = large(cache)
    assert cache.evict(0) == result.size
    assert not path.exists()


# Trust


def test_what_was_made_and_not_touched_is_not_read_again(cache: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    result, path = large(cache)
    with cache.open(result.artifact) as file:
        monkeypatch.setattr(hashlib, "sha256", None)
        cache.verify(result.artifact, file)
        before = os.fstat(file.fileno())
        os.link(path, path.parent.parent / "link")
        cache.touched(result.artifact, file.fileno(), before)
        cache.verify(result.artifact, file)


def test_byte_that_flips_between_making_and_publishing_is_seen(cache: Store) -> None:
    result, path = large(cache)
    before = path.stat()
    with open(path, "r+b") as file:
        file.write(b"\1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with cache.open(result.artifact) as opened, pytest.raises(Damaged):
        cache.verify(result.artifact, opened)
    assert not path.exists()


def test_small_artifacts_are_always_read(cache: Store) -> None:
    result = cache.put(b"text")
    (Path(cache.root) / "blobs" / result.artifact.replace(":", "-")).write_bytes(b"Text")
    with cache.open(result.artifact) as opened, pytest.raises(Damaged):
        cache.verify(result.artifact, opened)


def test_links_that_we_make_are_noted_wherever_the_file_is_believed(cache: Store, tmp_path: Path) -> None:
    result, path = large(cache)
    os.link(path, tmp_path / "blob")
    cache.note_place(result.artifact, str(tmp_path / "blob"))
    with cache.open(result.artifact) as file:
        before = os.fstat(file.fileno())
        os.link(path, tmp_path / "another")
        cache.touched(result.artifact, file.fileno(), before)
    noted = cache.places(str(tmp_path))[result.artifact]
    assert noted == store.standing((tmp_path / "blob").stat())
    os.link(path, tmp_path / "somebody's")
    assert noted != store.standing((tmp_path / "blob").stat())


def test_locks_of_the_store_are_waited_for(cache: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    told: list[str] = []
    cache.waiting = told.append
    with cache.lock("one"):
        thread = threading.Thread(target=lambda: cache.lock("one").__enter__())
        thread.start()
        while not told:
            pass
    thread.join(10)
    assert told == [f"{cache.root}/locks/one"]


def test_values_of_other_types_and_other_keys_are_none(cache: Store) -> None:
    Kept(cache).put("one", b"1")
    Kept(cache).put("two", b"2")
    assert Kept(cache).get("one") == b"1"
    cache.change(("update kept set value = (select value from kept where key = 'two')", [()]))
    assert Kept(cache).get("one") is None and Kept(cache).get("two") == b"2"
    cache.change(("update kept set value = 1.5", [()]))
    assert Kept(cache).get("two") is None
    cache.remember_file("/w", "safetensors", "1", "xxh3:1", b"detail")
    cache.change(("update survey set detail = 'text'", [()]))
    assert cache.survey("xxh3:1") is None
    result, path = large(cache)
    cache.change(("update place set stat = cast(stat as blob)", [()]))
    assert cache.places(str(path.parent)) == {}


def test_names_of_tables_that_are_no_text_are_damage(tmp_path: Path) -> None:
    Store(str(tmp_path)).close()
    path = tmp_path / "state.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    data = bytearray(path.read_bytes())
    data[data.find(b"tabletensortensor") + 6] = 0xF9
    data[data.find(b"CREATE TABLE tensor") + 3] = 0x21
    path.write_bytes(data)
    cache = Store(str(tmp_path))
    keep(cache, b"one")
    assert len(cache.results([ACTION])) == 1
