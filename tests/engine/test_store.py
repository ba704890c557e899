"""The store: what it believes of its artifacts, and that what is not its own stays."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest

from modelbuild import files
from modelbuild.engine import garbage, store
from modelbuild.engine.action import ActionResult, Made
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.database import Database, unusable
from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error

ACTION = "sha256:" + "a" * 64


@pytest.fixture
def cache(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def keep(cache: Store, text: bytes, action: str = ACTION) -> ActionResult:
    result = cache.put(text)
    LocalCache(cache).record(action, Made(result))
    return result


def large(cache: Store) -> tuple[ActionResult, Path]:
    """An artifact that this process made, and that is too large to be read again without a reason."""
    data = bytes(store.SMALL + 1)
    with cache.temporary() as file:
        file.write(data)
        result = ActionResult("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
        cache.adopt(file.path, result.artifact, None)
    return result, Path(cache.root) / "blobs" / result.artifact.replace(":", "-")


def replaced(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "inner").mkdir(parents=True)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_what_stands_in_place_of_an_artifact_is_replaced(cache: Store, kind: str) -> None:
    result = keep(cache, b"text")
    path = Path(cache.root) / "blobs" / result.artifact.replace(":", "-")
    replaced(path, kind)
    assert not cache.has(result)
    with pytest.raises(Damaged):
        cache.read(result.artifact)
    replace = cache.put(b"text")
    assert replace == result and cache.read(result.artifact) == b"text"
    made, place = large(cache)
    replaced(place, kind)
    assert large(cache)[0] == made and cache.has(made)


# A cache that goes


def test_contents_of_a_deleted_cache_are_none(cache: Store) -> None:
    shutil.rmtree(cache.root)
    assert garbage.evict(cache, 0) == 0
    cache.clear()
    cache.drop_unfinished()


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


def test_only_what_the_database_knows_is_dropped(cache: Store) -> None:
    ours = keep(cache, b"ours")
    blobs = Path(cache.root) / "blobs"
    theirs = {f"sha256-{'0' * 64}", "thesis.txt", "sha256-00"}
    for name in theirs:
        (blobs / name).write_text("theirs")
    (blobs / "circle").symlink_to("circle")
    assert garbage.evict(cache, 0) == ours.size
    assert {path.name for path in blobs.iterdir()} == {*theirs, "circle"}
    keep(cache, b"ours")
    assert len(cache.contents()) == 1
    assert set(cache.strangers()) == {*theirs, "circle"}
    cache.clear()
    assert {path.name for path in blobs.iterdir()} == {*theirs, "circle"}


def test_what_a_killed_build_placed_is_known(cache: Store) -> None:
    result, path = large(cache)
    assert garbage.evict(cache, 0) == result.size
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
    cache.note_location(result.artifact, str(tmp_path / "blob"))
    with cache.open(result.artifact) as file:
        before = os.fstat(file.fileno())
        os.link(path, tmp_path / "another")
        cache.touched(result.artifact, file.fileno(), before)
    noted = cache.located(str(tmp_path))[result.artifact]
    assert noted == files.signature((tmp_path / "blob").stat())
    os.link(path, tmp_path / "somebody's")
    assert noted != files.signature((tmp_path / "blob").stat())


def test_locks_of_the_store_are_waited_for(cache: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    told: list[str] = []
    cache.database.waiting = told.append
    with cache.lock("one"):
        thread = threading.Thread(target=lambda: cache.lock("one").__enter__())
        thread.start()
        while not told:
            pass
    thread.join(10)
    assert told == [f"{cache.root}/locks/one"]


def test_a_location_whose_row_was_altered_is_none(cache: Store) -> None:
    _, path = large(cache)
    assert cache.located(str(path.parent))
    cache.database.change(("update place set stat = cast(stat as blob)", [()]))
    assert cache.located(str(path.parent)) == {}


def test_artifact_of_a_cache_that_was_deleted_is_put_again(cache: Store) -> None:
    keep(cache, b"one")
    shutil.rmtree(cache.root)
    result = keep(cache, b"two")
    assert cache.read(result.artifact) == b"two"


def test_on_a_full_disk_the_files_go_though_the_database_cannot_forget_them(
    cache: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(cache, b"words")

    def full(database: Database) -> None:
        raise unusable(database.root, OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as patch:
        patch.setattr(Database, "clear", full)
        assert cache.clear() == (0, False)
    assert not cache.has(kept) and cache.path(kept.artifact) is None
    assert cache.clear() == (0, True)
