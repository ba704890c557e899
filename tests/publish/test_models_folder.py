"""The models folder: never half of anything, nothing of others touched."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelbuild import digest as digests
from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error
from modelbuild.ollama.library import Users, named_blobs
from modelbuild.publish.models_folder import ModelsFolder
from modelbuild.publish.scratch import Scratch
from modelbuild.publish.written import Owner, Written


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path / "models"
        self.store = Store(str(path / "cache"))
        self.open()

    def open(self, project: str = "p") -> ModelsFolder:
        self.models = ModelsFolder(str(self.path), self.store, Owner(project))
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


class Died(BaseException):
    pass


@pytest.mark.parametrize("at", ["_replace", "_note"])
@pytest.mark.parametrize("before", [None, "p", "other"])
def test_a_name_is_its_writers_whenever_the_next_one_dies(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, at: str, before: str | None
) -> None:
    if before:
        folder.open(before)
        folder.publish("chat", "config", "one")
    folder.open()

    def die(*given: object) -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(ModelsFolder, at, die)
        folder.publish("chat", "config", "two")
    stands = (folder.path / "manifests/h/n/chat/latest").exists()
    owner = "p" if at == "_note" else before
    assert stands == (owner is not None)
    for project in ("p", "other"):
        assert bool(folder.open(project).stale(())) == (project == owner)
    if owner:
        assert folder.open(owner).remove(["h/n/chat/latest"])[0] == ["h/n/chat/latest"]
        assert folder.tree() == {}
        assert folder.models.written.putting() == {}


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
        folder.store.adopt(file.path, result.artifact, str(folder.path / ".modelbuild"))
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
            folder.store.adopt(file.path, artifact, str(scratch))
    folder.publish("one", "config", "layer")
    folder.models.tidy()
    assert [path.read_text() for path in scratch.iterdir()] == ["unfinished"]
    assert len(folder.blobs()) == 2


def test_manifest_where_a_file_stands_is_an_error(folder: Folder) -> None:
    (folder.path / "manifests/h").mkdir(parents=True)
    (folder.path / "manifests/h/n").write_text("in the way")
    with pytest.raises(Error, match="the models folder cannot be written"):
        folder.publish("one", "config")


# Beside others


def blob_of(folder: Folder, text: str) -> Path:
    return next(path for path in (folder.path / "blobs").iterdir() if path.is_file() and path.read_text() == text)


def whole(folder: Folder) -> bool:
    """Whether every manifest's blobs are there."""
    for path in (folder.path / "manifests").rglob("*"):
        if path.is_file():
            for digest in named_blobs(path.read_bytes()):
                if not (folder.path / "blobs" / digest.replace(":", "-")).is_file():
                    return False
    return True


def test_blob_that_another_process_removed_is_put_again(folder: Folder) -> None:
    folder.publish("one", "config", "shared")
    blob_of(folder, "shared").unlink()
    folder.publish("two", "config", "shared")
    assert whole(folder)
    blob_of(folder, "shared").unlink()
    assert folder.publish("two", "config", "shared")
    assert whole(folder)


def test_blob_that_goes_while_its_manifest_is_put_is_put_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = ModelsFolder._replace

    def and_remove(self: ModelsFolder, path: str, manifest: ActionResult) -> None:
        replace(self, path, manifest)
        blob_of(folder, "layer").unlink()

    monkeypatch.setattr(ModelsFolder, "_replace", and_remove)
    folder.publish("one", "config", "layer")
    assert whole(folder)


def test_blobs_of_published_models_are_restored(folder: Folder) -> None:
    blobs = [folder.store.put(b"config"), folder.store.put(b"layer")]
    folder.publish("one", "config", "layer")
    manifest = ActionResult(digests.sha256((folder.path / "manifests/h/n/one/latest").read_bytes()), 0)
    output = Output("one", ("h/n/one/latest",), "m", ("c", "l"))
    assert not folder.models.restore(output, manifest, blobs)
    blob_of(folder, "layer").unlink()
    assert folder.models.restore(output, manifest, blobs)
    assert whole(folder)
    # What somebody has removed whole stays removed.
    folder.models.remove(["h/n/one/latest"])
    assert not folder.models.restore(output, manifest, blobs)
    assert folder.blobs() == set()


def test_only_what_is_there_as_we_left_it_is_finished(folder: Folder) -> None:
    blobs = [folder.store.put(b"config"), folder.store.put(b"layer")]
    output = Output("one", ("h/n/one/latest",), "m", ("c", "l"))

    def finished(spoil: Callable[[Path], object]) -> bool:
        folder.open()
        folder.publish("one", "config", "layer")
        path = folder.path / "manifests/h/n/one/latest"
        manifest = ActionResult(digests.sha256(path.read_bytes()), 0)
        spoil(path)
        return folder.models.finished(output, manifest, blobs) is not None

    assert finished(lambda path: None)
    for spoil in (
        lambda path: path.unlink(),
        lambda path: path.write_text("{}"),
        lambda path: blob_of(folder, "layer").unlink(),
        lambda path: blob_of(folder, "layer").write_text("Layer"),
    ):
        assert not finished(spoil)


def test_folders_that_a_server_removes_are_made_again(folder: Folder) -> None:
    over = threading.Event()

    def remove_empty() -> None:
        while not over.is_set():
            for path, _, _ in os.walk(folder.path / "manifests", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)

    thread = threading.Thread(target=remove_empty)
    thread.start()
    try:
        for number in range(40):
            folder.publish(f"model{number}", "config", str(number))
    finally:
        over.set()
        thread.join()
    assert whole(folder) and len(list((folder.path / "manifests").rglob("latest"))) == 40


def test_what_was_replaced_is_swept_by_the_next_build(folder: Folder) -> None:
    folder.publish("one", "config", "old")
    folder.publish("one", "config", "new")
    folder.open()  # the build died before its sweep
    assert folder.blobs() == {"config", "old", "new"}
    folder.models.sweep()
    assert folder.blobs() == {"config", "new"}
    assert Written(folder.store.database, str(folder.path)).loose() == set()


def test_blob_that_was_put_and_never_named_is_swept(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: ModelsFolder, path: str, manifest: ActionResult) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ModelsFolder, "_replace", die)
        folder.publish("one", "config", "layer")
    assert folder.blobs() == {"config", "layer"}
    folder.open().sweep()
    assert folder.blobs() == set()


def test_sweep_follows_links_and_keeps_what_it_cannot_prove_unused(folder: Folder) -> None:
    elsewhere = folder.path.parent / "elsewhere"
    elsewhere.mkdir()
    (folder.path / "manifests/h").mkdir(parents=True)
    (folder.path / "manifests/h/n").symlink_to(elsewhere)
    folder.publish("one", "config", "shared", "old")
    folder.publish("two", "config", "shared")
    folder.publish("one", "config", "new")
    folder.models.sweep()
    assert folder.blobs() == {"config", "shared", "new"}
    assert (elsewhere / "two/latest").is_file()
    (folder.path / "manifests/h/away").symlink_to(folder.path.parent / "not mounted")
    folder.publish("one", "config", "newer")
    folder.models.sweep()
    assert "new" in folder.blobs()
    (folder.path / "manifests/h/away").unlink()
    folder.models.sweep()
    assert folder.blobs() == {"config", "shared", "newer"}


def test_blob_that_a_server_names_during_the_sweep_stays(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.publish("one", "config", "old")
    old = (folder.path / "manifests/h/n/one/latest").read_text()
    folder.publish("one", "config", "new")
    used = Users.used
    looks = []

    def and_put(self: Users) -> set[str] | None:
        found = used(self)
        looks.append(found)
        if len(looks) == 1:
            (folder.path / "manifests/h/n/theirs").write_text(old)
        return found

    monkeypatch.setattr(Users, "used", and_put)
    folder.models.sweep()
    assert len(looks) == 2
    assert folder.blobs() == {"config", "old", "new"}


def test_vanished_artifact_is_damage_and_no_fault_of_the_folder(folder: Folder) -> None:
    blobs = [folder.store.put(b"config")]
    manifest = folder.store.put(b"{}")
    for path in Path(folder.store.root, "blobs").iterdir():
        path.unlink()
    with pytest.raises(Damaged):
        folder.models.publish("h/n/one/latest", manifest, blobs)


def test_artifact_that_cannot_be_synced_is_dropped(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    result = folder.store.put(b"config")
    manifest = folder.store.put(b"{}")

    def fail(number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, pytest.raises(Error, match="input/output error"):
        patch.setattr(os, "fsync", fail)
        folder.models.publish("h/n/one/latest", manifest, [result])
    assert folder.store.path(result.artifact) is None


@pytest.mark.parametrize("linked", ["blobs", "manifests", "manifests/h/n"])
def test_models_folder_may_span_file_systems(folder: Folder, linked: str) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == folder.path.parent.stat().st_dev:
        pytest.skip("needs /dev/shm on another file system")
    with tempfile.TemporaryDirectory(dir=shm) as far:
        (folder.path / linked).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / linked).symlink_to(far)
        span(folder, far, linked)


@pytest.mark.parametrize("linked", ["blobs", "manifests"])
def test_models_folder_may_span_mounts_that_no_stat_tells_apart(
    folder: Folder, linked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = folder.path / linked
    far.mkdir(parents=True)

    def across(one: str, other: str) -> bool:
        return str(one).startswith(str(far)) != str(other).startswith(str(far))

    replace, link = os.replace, os.link

    def refuse(call: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def called(one: str, other: str) -> None:
            if across(one, other):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), one, None, other)
            call(one, other)

        return called

    monkeypatch.setattr(os, "replace", refuse(replace))
    monkeypatch.setattr(os, "link", refuse(link))
    span(folder, str(far), linked)


def span(folder: Folder, far: str, linked: str) -> None:
    assert folder.publish("one", "config", "old")
    assert folder.publish("one", "config", "new")
    assert not folder.publish("one", "config", "new")
    folder.models.sweep()
    folder.models.tidy()
    assert whole(folder) and folder.blobs() == {"config", "new"}
    assert not list(folder.path.rglob(".modelbuild")) and not list(Path(far).rglob(".modelbuild"))
    assert any(Path(far).rglob("*"))
    folder.models.remove(["h/n/one/latest"])
    folder.models.tidy()
    assert not list((folder.path / "blobs").iterdir())


def test_fifo_in_the_place_of_a_manifest_holds_nobody_up(folder: Folder) -> None:
    folder.publish("one", "config")
    path = folder.path / "manifests/h/n/one/latest"
    path.unlink()
    os.mkfifo(path)
    assert folder.models.stale(()) == []
    folder.models.sweep()


def test_removal_that_ends_before_its_sweep_leaks_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.publish("one", "config", "layer")

    def die(self: ModelsFolder, *_: object) -> list[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ModelsFolder, "_sweep", die)
        folder.models.remove(["h/n/one/latest"])
    assert folder.blobs() == {"config", "layer"}
    folder.open().sweep()
    assert folder.blobs() == set()


@pytest.mark.parametrize("fewer", [False, True])
def test_write_whose_time_was_put_back_is_seen_whatever_happens_to_links(folder: Folder, fewer: bool) -> None:
    folder.publish("one", "config", "layer")
    blob = blob_of(folder, "layer")
    before = blob.stat()
    blob.write_text("LAYER")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    if fewer:
        (Path(folder.store.root) / "blobs" / blob.name).unlink()
    folder.open()
    manifest = (folder.path / "manifests/h/n/one/latest").read_text()
    for _ in range(3):
        with contextlib.suppress(Damaged):
            folder.publish("one", "config", "layer")
    assert folder.blobs() == {"config", "layer"}
    assert (folder.path / "manifests/h/n/one/latest").read_text() == manifest


def test_manifest_that_somebody_wrote_while_we_waited_stays(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.publish("one", "config", "layer")
    path = folder.path / "manifests/h/n/one/latest"
    locked = Scratch.locked

    @contextlib.contextmanager
    def and_replace(self: Scratch, *values: float) -> Iterator[None]:
        with locked(self, *values):
            path.write_text('{"config": {"digest": "sha256:00"}}')
            yield

    names = folder.models.stale(())
    assert names == ["h/n/one/latest"]
    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "locked", and_replace)
        assert folder.models.remove(names) == ([], [])
    assert "sha256:00" in path.read_text()


# Many at once


def made(folder: Folder, name: str, *texts: str) -> tuple[Output, ActionResult, list[ActionResult]]:
    """A model that is ready to be published."""
    blobs = [folder.store.put(text.encode()) for text in texts]
    config, *layers = [{"digest": blob.artifact, "size": blob.size} for blob in blobs]
    manifest = folder.store.put(json.dumps({"config": config, "layers": layers}).encode())
    return Output(name, (f"h/n/{name}/latest",), "manifest", tuple(texts)), manifest, blobs


def several(folder: Folder, text: str = "own") -> list[tuple[Output, ActionResult, list[ActionResult]]]:
    return [made(folder, f"m{number}", "config", "shared", f"{text} {number}") for number in range(5)]


def test_many_leave_what_each_alone_leaves(folder: Folder, tmp_path: Path) -> None:
    alone = Folder(tmp_path / "alone")
    for text in ("own", "edited"):
        models = several(folder, text)
        folder.models.publish_together(models)
        for output, *_ in models:
            assert (folder.path / "manifests" / output.names[0]).is_file()
        assert all(folder.models.publish_all(*each) for each in models)
        assert not any(folder.open().publish_all(*each) for each in models)
        assert all(alone.models.publish_all(*each) for each in several(alone, text))
        for each in (folder, alone):
            each.models.sweep()
            assert each.models.tidy()
        assert folder.tree() == alone.tree()
        assert folder.models.written.names() == alone.models.written.names()
        assert folder.models.written.blobs() == alone.models.written.blobs()
        assert not folder.models.written.putting()
        assert all(folder.models.finished(*each) for each in models if folder.open().publish_all(*each) is False)


def test_nothing_is_named_before_it_is_on_the_disk(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each manifest that appears names blobs that were synced, as was their folder, and is noted as ours."""
    synced: set[int] = set()
    fsync, replace = os.fsync, os.replace

    def note(file: int) -> None:
        fsync(file)
        synced.add(os.fstat(file).st_ino)

    renamed = []

    def look(source: str, target: str) -> None:
        if "/manifests/" in target:
            renamed.append(target)
            data = Path(source).read_bytes()
            blobs = [folder.path / "blobs" / digest.replace(":", "-") for digest in named_blobs(data)]
            assert all(blob.stat().st_ino in synced for blob in [*blobs, folder.path / "blobs", Path(source)])
            assert target.partition("/manifests/")[2] in folder.models.written.putting()
            assert {digest.replace("-", ":") for digest in os.listdir(folder.path / "blobs")} <= (
                folder.models.written.blobs()
            )
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", look)
    folder.models.publish_together(several(folder))
    assert len(renamed) == 5
    assert all(Path(path).parent.stat().st_ino in synced for path in renamed)


@pytest.mark.parametrize("nth", range(5))
def test_what_stands_in_the_way_of_one_is_the_fault_of_that_one(folder: Folder, nth: int) -> None:
    models = several(folder)
    (folder.path / "manifests" / f"h/n/m{nth}/latest").mkdir(parents=True)
    folder.models.publish_together(models)
    for number, each in enumerate(models):
        if number == nth:
            with pytest.raises(Error):
                folder.models.publish_all(*each)
        else:
            assert folder.models.publish_all(*each)
            assert json.loads((folder.path / "manifests" / each[0].names[0]).read_text())
    assert folder.models.tidy()


def test_an_artifact_that_is_damaged_is_never_put_with_others(folder: Folder) -> None:
    models = several(folder)
    path = folder.store.path(models[2][2][2].artifact)
    assert path
    Path(path).write_text("OWN 2")
    folder.models.publish_together(models)
    with pytest.raises(Damaged):
        folder.models.publish_all(*models[2])
    assert all(folder.models.publish_all(*each) for each in models if each is not models[2])


def test_a_blob_that_cannot_be_synced_is_named_by_no_manifest(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    models = several(folder)
    bad = folder.store.path(models[3][2][2].artifact)
    fsync = os.fsync

    def failing(file: int) -> None:
        if os.readlink(f"/proc/self/fd/{file}") == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        folder.models.publish_together(models)
    assert not list((folder.path / "manifests").rglob("latest"))
    with pytest.raises(Damaged):
        folder.models.publish_all(*models[3])


def test_names_of_another_project_are_told_of_many_too(folder: Folder, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.toml"
    theirs.touch()
    folder.open(str(theirs))
    folder.models.publish_together(several(folder))
    folder.open("p")
    folder.models.publish_together(several(folder, "edited"))
    assert folder.models.taken == {f"h/n/m{number}/latest": str(theirs) for number in range(5)}


@pytest.mark.parametrize(
    ("names", "loose", "due"),
    [(100, 1, True), (101, 1, False), (101, 10, False), (110, 11, True), (2491, 249, False), (2501, 250, True)],
)
def test_small_blobs_go_when_they_are_worth_a_look_at_all_names(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, names: int, loose: int, due: bool
) -> None:
    monkeypatch.setattr(ModelsFolder, "sweep", lambda _: ["swept"])
    written = folder.models.written
    written.note({str(number): "" for number in range(names)}, Owner("a"))
    written.note_loose(f"sha256:{number:064}" for number in range(loose))
    assert folder.models.sweep_when_due() == (["swept"] if due else [])
