"""The models folder: never half of anything, nothing of others touched."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from modelbuild.action import ActionResult
from modelbuild.errors import Error
from modelbuild.models import ModelsFolder, default_folder
from modelbuild.store import Store


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path / "models"
        self.store = Store(str(path / "cache"))
        self.open()

    def open(self, project: str = "p") -> ModelsFolder:
        self.models = ModelsFolder(str(self.path), self.store, project)
        return self.models

    def publish(self, name: str, *texts: str) -> bool:
        blobs = [self.store.put(text.encode()) for text in texts]
        config, *layers = [{"digest": blob.artifact, "size": blob.size} for blob in blobs]
        manifest = self.store.put(json.dumps({"config": config, "layers": layers}).encode())
        return self.models.publish(f"h/n/{name}/latest", manifest, blobs)

    def tree(self) -> dict[str, str]:
        return {str(p.relative_to(self.path)): p.read_text() for p in sorted(self.path.rglob("*")) if p.is_file()}

    def blobs(self) -> set[str]:
        return {path.read_text() for path in (self.path / "blobs").iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_manifest_lies_where_ollama_looks(folder: Folder) -> None:
    assert folder.publish("chat", "config", "layer")
    assert (folder.path / "manifests/h/n/chat/latest").is_file()
    assert folder.blobs() == {"config", "layer"}
    assert all(
        name.startswith("sha256-") and len(name) == 71 for name in (p.name for p in (folder.path / "blobs").iterdir())
    )


def test_publishing_the_same_again_changes_nothing(folder: Folder) -> None:
    folder.publish("chat", "config", "layer")
    before = folder.tree()
    assert not folder.publish("chat", "config", "layer")
    assert not (folder.open() and folder.publish("chat", "config", "layer"))
    assert folder.tree() == before


def test_blobs_of_a_replaced_manifest_go_unless_named_elsewhere(folder: Folder) -> None:
    folder.publish("one", "config", "only one", "both")
    folder.publish("two", "config", "both")
    folder.publish("one", "config", "new")
    assert len(folder.models.sweep()) == 1
    assert folder.blobs() == {"config", "both", "new"}


def test_blobs_of_others_stay(folder: Folder) -> None:
    folder.publish("one", "config", "layer")
    foreign = folder.path / "blobs/sha256-00"
    foreign.write_text("theirs")
    theirs = folder.path / "manifests/h/n/theirs/latest"
    theirs.parent.mkdir(parents=True)
    layer = folder.store.put(b"layer").artifact
    theirs.write_text(json.dumps({"config": {"digest": "sha256:00"}, "layers": [{"digest": layer.replace(":", "-")}]}))
    folder.models.remove(["h/n/one/latest"])
    assert folder.blobs() == {"theirs", "layer"}
    assert theirs.exists()
    assert not (folder.path / "manifests/h/n/one").exists()


def test_unreadable_manifest_of_others_keeps_every_blob(folder: Folder) -> None:
    folder.publish("one", "config", "layer")
    (folder.path / "manifests/h/n/broken").mkdir()
    (folder.path / "manifests/h/n/broken/latest").write_text("not json")
    folder.models.remove(["h/n/one/latest"])
    assert folder.blobs() == {"config", "layer"}


def test_stale_names_are_those_we_wrote_and_nobody_changed(folder: Folder) -> None:
    folder.publish("one", "c", "1")
    folder.publish("two", "c", "2")
    folder.publish("three", "c", "3")
    (folder.path / "manifests/h/n/three/latest").write_text("{}")
    assert folder.models.stale({"h/n/one/latest"}) == ["h/n/two/latest"]
    assert folder.open("another project").stale(set()) == []


def test_foreign_blob_of_the_right_size_is_hashed_before_it_is_believed(folder: Folder) -> None:
    result = folder.store.put(b"layer")
    (folder.path / "blobs").mkdir(parents=True)
    blob = folder.path / "blobs" / result.artifact.replace(":", "-")
    blob.write_text("Layer")
    folder.publish("one", "config", "layer")
    assert blob.read_text() == "layer"


def test_blob_that_was_written_to_is_hashed_again(folder: Folder) -> None:
    folder.publish("one", "config", "layer")
    blob = next(path for path in (folder.path / "blobs").iterdir() if path.read_text() == "layer")
    blob.unlink()  # what lies in the store is another file than the damaged one
    blob.write_text("LAYER")
    folder.open()
    assert folder.publish("one", "config", "layer")
    assert folder.blobs() == {"config", "layer"}
    stat = blob.stat()
    blob.unlink()
    blob.write_text("Layer")
    os.utime(blob, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    folder.open()
    folder.models.doubt()
    assert folder.publish("one", "config", "layer")
    assert folder.blobs() == {"config", "layer"}


def test_store_puts_right_what_was_damaged_meanwhile(folder: Folder) -> None:
    result = folder.store.put(b"layer")
    own = folder.store.path(result.artifact)
    assert own is not None
    Path(own).write_text("LAYER")
    folder.store.put(b"layer")
    assert Path(own).read_text() == "layer"


def test_blob_that_stood_there_before_is_not_ours_to_remove(folder: Folder) -> None:
    result = folder.store.put(b"layer")
    (folder.path / "blobs").mkdir(parents=True)
    (folder.path / "blobs" / result.artifact.replace(":", "-")).write_text("layer")
    folder.publish("one", "config", "layer")
    folder.models.remove(["h/n/one/latest"])
    assert folder.blobs() == {"layer"}


def test_artifact_made_beside_the_models_is_moved_in(folder: Folder) -> None:
    folder.path.mkdir()
    (folder.path / ".modelbuild").mkdir()
    with folder.store.temporary(str(folder.path / ".modelbuild")) as file:
        file.write(b"large")
        result = ActionResult("sha256:" + hashlib.sha256(b"large").hexdigest(), 5)
        folder.store.place(file.path, result.artifact, str(folder.path / ".modelbuild"))
    manifest = folder.store.put(b"{}")
    folder.models.publish("h/n/one/latest", manifest, [result])
    folder.models.tidy()
    assert folder.store.path(result.artifact) == str(folder.path / "blobs" / result.artifact.replace(":", "-"))
    assert not (folder.path / ".modelbuild").exists()


def test_artifact_made_once_more_beside_the_models_does_not_stay_there(folder: Folder) -> None:
    folder.publish("one", "config", "layer")
    scratch = folder.path / ".modelbuild"
    for text in ("layer", "unfinished"):
        scratch.mkdir(exist_ok=True)
        with folder.store.temporary(str(scratch)) as file:
            file.write(text.encode())
            artifact = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
            folder.store.place(file.path, artifact, str(scratch))
    folder.publish("one", "config", "layer")
    folder.models.tidy()
    assert [path.read_text() for path in scratch.iterdir()] == ["unfinished"]
    assert len(folder.blobs()) == 2


def test_manifest_where_a_file_stands_is_an_error(folder: Folder) -> None:
    (folder.path / "manifests/h").mkdir(parents=True)
    (folder.path / "manifests/h/n").write_text("in the way")
    with pytest.raises(Error, match="the models folder cannot be written"):
        folder.publish("one", "config")


@pytest.mark.parametrize(
    ("env", "expected"), [(None, "/home/x/.ollama/models"), (' "/srv/m" ', "/srv/m"), ("", "/home/x/.ollama/models")]
)
def test_default_folder_is_ollamas(env: str | None, expected: str) -> None:
    assert default_folder(env, "/home/x") == expected
