"""What is damaged is set aside, and only that, whatever happened to it meanwhile."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.engine.action import Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.store import Store
from modelbuild.publish.aside import Aside
from modelbuild.publish.written import Owner, Written

BLOB = sha256(b"whole")
NAME = "h/n/m/t"
KEY = "xxh3:" + "b" * 32


@pytest.fixture
def aside(tmp_path: Path) -> Aside:
    (tmp_path / "models/blobs").mkdir(parents=True)
    return Aside(str(tmp_path / "models"), Store(str(tmp_path / "cache")))


def damage(aside: Aside, tmp_path: Path) -> Path:
    path = Path(aside.library.blob_path(BLOB))
    path.write_bytes(b"rotten")
    return path


def kept(aside: Aside) -> list[bytes]:
    return [path.read_bytes() for path in Path(aside.folder).iterdir()]


def test_a_file_of_the_models_folder_goes_and_is_kept(aside: Aside, tmp_path: Path) -> None:
    path = damage(aside, tmp_path)
    assert aside.take(BLOB, str(path), path.stat())
    aside.tidy()
    assert not path.exists() and kept(aside) == [b"rotten"]
    assert not (tmp_path / "models/.modelbuild").exists()


def test_all_names_of_one_file_go(aside: Aside, tmp_path: Path) -> None:
    path, own = damage(aside, tmp_path), tmp_path / "cache/blobs" / Path(aside.library.blob_path(BLOB)).name
    os.link(path, own)
    seen = path.stat()
    assert aside.take(BLOB, str(path), seen) and aside.take_own(BLOB, str(own), seen)
    assert not path.exists() and not own.exists() and kept(aside) == [b"rotten"]


def test_what_was_replaced_since_it_was_read_stays(aside: Aside, tmp_path: Path) -> None:
    path = damage(aside, tmp_path)
    seen = path.stat()
    (tmp_path / "new").write_bytes(b"whole")
    os.replace(tmp_path / "new", path)
    assert not aside.take(BLOB, str(path), seen)
    assert path.read_bytes() == b"whole" and kept(aside) == []
    path.unlink()
    assert not aside.take(BLOB, str(path), seen)


def test_the_index_forgets_a_blob_unless_it_lies_whole_elsewhere(aside: Aside, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    result = store.put(b"whole")
    cache = LocalCache(store)
    cache.record("sha256:" + "a" * 64, Made(result, ((KEY, Range(BLOB, 0, 5, KEY)),)))
    path = damage(aside, tmp_path)
    aside.take(BLOB, str(path), path.stat())
    assert list(cache.tensors([KEY])) == [KEY]
    own = Path(str(store.path(BLOB)))
    own.write_bytes(b"rotten")
    assert aside.take_own(BLOB, str(own), own.stat())
    assert cache.tensors([KEY]) == {} and store.notes.names() == []


def test_on_another_disk_it_is_copied(aside: Aside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replace = damage(aside, tmp_path), os.replace

    def refuse(source: str, target: str) -> None:
        if source == str(path):
            raise OSError(errno.EXDEV, "cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    assert aside.take(BLOB, str(path), path.stat())
    assert not path.exists() and kept(aside) == [b"rotten"]


def test_only_what_is_ours_alone_may_go(aside: Aside, tmp_path: Path) -> None:
    assert not aside.may_take(BLOB, [])
    written = Written(Store(str(tmp_path / "cache")).database, aside.library.root)
    written.note_blobs([BLOB])
    assert aside.may_take(BLOB, [])
    assert not aside.may_take(BLOB, [NAME])
    written.note({NAME: "sha256:0"}, Owner("p"))
    assert aside.may_take(BLOB, [NAME])
    assert not aside.may_take(BLOB, [NAME, "h/n/other/t"])


def test_what_is_distrusted_is_hashed_before_it_is_believed(aside: Aside, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    path = damage(aside, tmp_path)
    store.note_location(BLOB, str(path))
    assert store.located(aside.library.blobs)
    aside.distrust(BLOB, str(path))
    assert store.located(aside.library.blobs) == {} and path.exists()
