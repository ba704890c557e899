"""Blobs of a models folder: believed by a stat that was noted, hashed otherwise, put whole."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelbuild.engine.action import ActionResult
from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error
from modelbuild.ollama.library import Library
from modelbuild.publish.blobs import PRUNED, Blobs
from modelbuild.publish.scratch import Scratch
from modelbuild.publish.spares import Spares
from modelbuild.publish.written import Written


class Folder:
    """A models folder's blobs, as a process sees them that has just begun."""

    def __init__(self, path: Path) -> None:
        self.library = Library(str(path / "models"))
        self.store = Store(str(path / "cache"))
        self.written = Written(self.store.database, self.library.root)
        scratch = Scratch(self.library, self.store)
        self.blobs = Blobs(self.library, self.store, self.written, scratch, Spares(self.library, self.store, scratch))

    def path(self, blob: ActionResult) -> Path:
        return Path(self.library.blob_path(blob.artifact))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_missing_blobs_are_put_and_noted_as_ours(folder: Folder, tmp_path: Path) -> None:
    blobs = [folder.store.put(text) for text in (b"one", b"two")]
    assert not any(map(folder.blobs.has, blobs))
    folder.blobs.put_missing(blobs)
    assert [folder.path(blob).read_bytes() for blob in blobs] == [b"one", b"two"]
    assert folder.written.blobs() == folder.written.loose() == {blob.artifact for blob in blobs}
    # One copy on one file system.
    assert folder.path(blobs[0]).stat().st_nlink == 2
    again = Folder(tmp_path).blobs
    assert not folder.blobs.replaced
    assert again.noted.whole().keys() == {blob.artifact for blob in blobs}
    assert all(map(again.has, blobs))


def test_a_blob_that_is_not_as_noted_is_hashed(folder: Folder, tmp_path: Path) -> None:
    blob = folder.store.put(b"one")
    path = folder.path(blob)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"One")
    assert not folder.blobs.has(blob)
    path.write_bytes(b"one")
    assert folder.blobs.has(blob)
    path.write_bytes(b"One")
    folder.blobs.put_missing([blob])
    assert path.read_bytes() == b"one" and folder.blobs.has(blob)
    assert [*folder.blobs.replaced] == [blob.artifact]
    assert folder.blobs.noted.whole() == Folder(tmp_path).blobs.noted.whole() != {}
    path.unlink()
    os.mkfifo(path)
    assert not folder.blobs.has(ActionResult(blob.artifact, 0))


def test_doubt_ends_all_belief(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = folder.store.put(b"one")
    folder.blobs.put_missing([blob])
    folder.blobs.doubt()
    hashed = []
    monkeypatch.setattr("modelbuild.publish.blobs.sha256_of", lambda path: hashed.append(path) or blob.artifact)
    assert folder.blobs.has(blob) and folder.blobs.has(blob)
    assert hashed == [str(folder.path(blob))]


def test_an_old_blob_is_young_again_before_a_manifest_names_it(folder: Folder) -> None:
    blob = folder.store.put(b"one")
    own = folder.store.path(blob.artifact)
    assert own is not None
    os.utime(own, (1, 1))
    folder.blobs.put_missing([blob])
    assert folder.path(blob).stat().st_mtime > time.time() - PRUNED
    assert folder.blobs.has(blob)


def test_a_damaged_artifact_is_not_put(folder: Folder) -> None:
    blob = folder.store.put(b"one")
    own = folder.store.path(blob.artifact)
    assert own is not None
    Path(own).write_bytes(b"One")
    with pytest.raises(Damaged):
        folder.blobs.put_missing([blob])
    assert not folder.path(blob).exists()


def test_whoever_removes_blobs_as_fast_as_they_are_put_is_told_of(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = folder.store.put(b"one")
    monkeypatch.setattr("modelbuild.publish.blobs.AGAIN", 3)
    monkeypatch.setattr(Blobs, "has", lambda self, blob: False)
    with pytest.raises(Error, match="another program keeps removing blobs"):
        folder.blobs.put_missing([blob])
