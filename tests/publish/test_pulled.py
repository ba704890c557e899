from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild.engine.action import ActionResult
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.ollama.library import Library
from modelbuild.ollama.manifest import CONFIG, MODEL, SYSTEM, TEMPLATE
from modelbuild.ollama.name import Name
from modelbuild.publish import pulled as module
from modelbuild.publish.models_folder import ModelsFolder
from modelbuild.publish.pulled import Pulled, checked, pull
from modelbuild.publish.written import Owner
from tests.registry.clients import transport
from tests.registry.standin import Asked, Reply, Standin, digest

WEIGHTS = os.urandom(300_000)
LAYERS = [(MODEL, WEIGHTS), (TEMPLATE, b"{{ .Prompt }}"), (SYSTEM, b"be kind")]


class Place:
    """A models folder, a cache and a registry."""

    def __init__(self, folder: Path, registry: Standin) -> None:
        self.root = str(folder / "models")
        self.library = Library(self.root)
        self.store = Store(str(folder / "cache"))
        self.registry = registry
        self.events: list[dict[str, Any]] = []

    def name(self, text: str = "library/m") -> Name:
        return Name.parse(f"{self.registry.host}/{text}")

    def pull(self, text: str = "library/m", **options: Any) -> Pulled:
        return pull(self.name(text), self.root, self.store, transport(), hear=self.events.append, **options)

    def blobs(self) -> dict[str, bytes]:
        """What `blobs` holds."""
        folder = Path(self.library.blobs)
        return {path.name.replace("-", ":"): path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}

    def manifest(self, text: str = "library/m") -> bytes | None:
        path = Path(self.library.manifest_path(self.name(text).path()))
        return path.read_bytes() if path.exists() else None

    def downloaded(self) -> list[str]:
        return [path for path in self.registry.paths() if "/blobs/" in path]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Standin() as registry:
        made = Place(tmp_path, registry)
        yield made
        made.store.close()


def test_the_bytes_of_the_registry_are_there_and_nothing_else(place: Place) -> None:
    data = place.registry.add("library/m", LAYERS)
    pulled = place.pull()
    assert place.manifest() == data and place.blobs() == place.registry.blobs
    assert pulled.digest == digest(data) and pulled.changed and pulled.taken is None
    assert pulled.size == pulled.received == sum(map(len, place.registry.blobs.values()))
    assert sorted(os.listdir(place.root)) == ["blobs", "manifests"]
    # No second copy, not even as a link.
    assert {entry.stat().st_nlink for entry in os.scandir(place.library.blobs)} == {1}


def test_a_pull_of_what_is_there_downloads_nothing(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    place.pull()
    before = len(place.downloaded())
    again = place.pull()
    assert (again.changed, again.received, len(place.downloaded())) == (False, 0, before)


def test_only_what_is_missing_comes_over_the_network(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    place.pull()
    place.registry.add("library/m", [LAYERS[0], (SYSTEM, b"be brief")], "v2")
    assert place.pull("library/m:v2").received == len(b"be brief")


def test_a_blob_that_somebody_damaged_is_downloaded_again(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    place.pull()
    Path(place.library.blob_path(digest(WEIGHTS))).write_bytes(WEIGHTS[:-1] + b"?")
    assert place.pull().received == len(WEIGHTS)
    assert place.blobs() == place.registry.blobs


def test_a_blob_that_ollama_put_is_used(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    os.makedirs(place.library.blobs)
    Path(place.library.blob_path(digest(WEIGHTS))).write_bytes(WEIGHTS)
    assert place.pull().received < len(WEIGHTS)
    assert any(event["event"] == "checking" and event["bytes"] == len(WEIGHTS) for event in place.events)


def test_a_blob_of_the_cache_is_used(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    place.store.put(WEIGHTS)
    place.pull()
    assert not any(digest(WEIGHTS) in path for path in place.downloaded())
    assert place.blobs() == place.registry.blobs


def test_a_digest_pins_the_manifest(place: Place) -> None:
    old = place.registry.add("library/m", LAYERS)
    place.registry.add("library/m", [(MODEL, b"newer")])
    assert place.pull(digest=digest(old)).digest == digest(old)
    assert place.manifest() == old


def test_what_only_the_replaced_manifest_named_goes(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    place.registry.add("library/other", [LAYERS[1]])
    place.pull()
    place.pull("library/other")
    os.makedirs(place.library.blobs, exist_ok=True)
    stranger = Path(place.library.blob_path(digest(b"of a stranger")))
    stranger.write_bytes(b"of a stranger")
    new = place.registry.add("library/m", [(MODEL, b"newer")])
    place.pull()
    assert place.manifest() == new
    gone = {digest(WEIGHTS), digest(b"be kind")}
    assert gone.isdisjoint(place.blobs()) and digest(LAYERS[1][1]) in place.blobs()
    assert stranger.exists()


def test_a_foreign_manifest_is_replaced_as_ollama_does_it(place: Place) -> None:
    """Also the blobs that Ollama put for it go."""
    path = Path(place.library.manifest_path(place.name().path()))
    path.parent.mkdir(parents=True)
    os.makedirs(place.library.blobs)
    former = b"the former model"
    Path(place.library.blob_path(digest(former))).write_bytes(former)
    layer = {"mediaType": MODEL, "digest": digest(former), "size": len(former)}
    path.write_text(json.dumps({"schemaVersion": 2, "config": layer, "layers": [layer, {"digest": "../../x"}]}))
    data = place.registry.add("library/m", LAYERS)
    assert place.pull().changed
    assert place.manifest() == data and place.blobs() == place.registry.blobs


def test_where_a_manifest_cannot_be_read_no_blob_goes(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    place.pull()
    broken = Path(place.library.manifest_path(place.name("library/broken").path()))
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    place.registry.add("library/m", [(MODEL, b"newer")])
    place.pull()
    assert digest(WEIGHTS) in place.blobs()


def test_a_pulled_name_is_nobodys_stale_name(place: Place, tmp_path: Path) -> None:
    place.registry.add("library/m", LAYERS)
    project = tmp_path / "ModelBuild.toml"
    project.write_text("")
    name = place.name().path()
    models = ModelsFolder(place.root, place.store, Owner(str(project)))
    blob = place.store.put(b"{}")
    models.publish(name, place.store.put(b'{"config": {}}'), [blob])
    assert models.stale(()) == [name]
    pulled = place.pull()
    assert pulled.taken == str(project)
    assert ModelsFolder(place.root, place.store, Owner(str(project))).stale(()) == []


def test_what_a_project_pushed_and_pulls_again_stays_its_own(place: Place, tmp_path: Path) -> None:
    data = place.registry.add("library/m", LAYERS)
    project = tmp_path / "ModelBuild.toml"
    project.write_text("")
    models = ModelsFolder(place.root, place.store, Owner(str(project)))
    blobs = [place.store.put(blob) for blob in place.registry.blobs.values()]
    models.publish(place.name().path(), place.store.put(data), blobs)
    assert not place.pull().changed
    assert ModelsFolder(place.root, place.store, Owner(str(project))).stale(()) == [place.name().path()]


@pytest.mark.parametrize("seed", range(3))
def test_a_registry_of_whims_never_has_a_wrong_byte_installed(
    place: Place, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are cut, late, refused, of other bytes, or redirected, at random; in the end it is well again."""
    from modelbuild.registry import download

    monkeypatch.setattr(download, "PART", 20_000)
    monkeypatch.setattr(download, "NOTED", 5_000)
    chance = random.Random(seed)
    data = place.registry.add("library/m", LAYERS)

    def whim(asked: Asked) -> Reply | None:
        reply = place.registry.usual(asked)
        assert isinstance(reply.body, bytes)
        match chance.randrange(12):
            case 0:
                return Reply(reply.status, reply.body[: len(reply.body) // 2], reply.headers, len(reply.body))
            case 1:
                return Reply(chance.choice([404, 416, 418, 429, 500, 503]), b"{}")
            case 2:
                wrong = bytearray(reply.body)
                wrong[chance.randrange(len(wrong))] ^= 1
                return Reply(reply.status, bytes(wrong), reply.headers)
            case 3 if "/blobs/" in asked.path:
                return Reply(200, place.registry.blobs[asked.path.rpartition("/")[2]])
            case 4:
                return Reply(307, headers=[("Location", asked.path + "?")])
            case 5:
                return Reply(reply.status, [reply.body], reply.headers, length=-1)
            case _:
                return None

    place.registry.on("GET", "/v2/", whim)
    for _ in range(12):
        try:
            place.pull()
        except Error:
            assert place.manifest() is None and place.blobs() == {}
        else:
            break
    place.registry.script.clear()
    place.pull()
    assert place.manifest() == data and place.blobs() == place.registry.blobs
    assert sorted(os.listdir(place.root)) == ["blobs", "manifests"]


def test_an_error_installs_nothing_and_keeps_what_came(place: Place) -> None:
    data = place.registry.add("library/m", LAYERS)
    place.registry.on("GET", digest(WEIGHTS), Reply(404), last=False)
    with pytest.raises(Error, match="is not known"):
        place.pull()
    assert place.manifest() is None and place.blobs() == {}
    place.pull()
    assert place.manifest() == data and place.blobs() == place.registry.blobs
    assert sorted(os.listdir(place.root)) == ["blobs", "manifests"]


def test_what_an_interrupted_pull_left_is_no_litter_of_a_build(place: Place, tmp_path: Path) -> None:
    place.registry.add("library/m", LAYERS)
    place.registry.on("GET", digest(WEIGHTS), Reply(200, WEIGHTS[:1000], length=len(WEIGHTS)), Reply(404))
    with pytest.raises(Error):
        place.pull()
    models = ModelsFolder(place.root, place.store, Owner(str(tmp_path)))
    assert models.tidy()
    assert any(
        digest(WEIGHTS).replace(":", "-") in name for name in os.listdir(os.path.join(place.root, ".modelbuild"))
    )


def test_two_pulls_at_once_download_each_blob_once(place: Place, tmp_path: Path) -> None:
    place.registry.add("library/m", LAYERS)
    place.registry.add("library/n", LAYERS[::-1])
    stores = [Store(str(tmp_path / "cache")) for _ in range(2)]
    failed: list[BaseException] = []

    def work(store: Store, name: Name) -> None:
        try:
            pull(name, place.root, store, transport())
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=(store, place.name(text)))
        for store, text in zip(stores, ("library/m", "library/n"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for store in stores:
        store.close()
    assert failed == [] and place.blobs() == place.registry.blobs
    assert len(place.downloaded()) == len(set(place.downloaded()))


def test_two_pulls_of_different_caches_download_each_blob_once(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.registry.add("library/m", LAYERS)
    other = Store(str(tmp_path / "other"))
    second = threading.Thread(target=lambda: pull(place.name(), place.root, other, transport()))
    waits = threading.Event()
    other.database.waiting = lambda path: waits.set()
    install = module._Pull.install

    def slowly(self: Any, *given: Any) -> bool:
        if threading.current_thread() is not second:
            second.start()
            assert waits.wait(30), "the second one waits until the first one has installed"
        return install(self, *given)

    monkeypatch.setattr(module._Pull, "install", slowly)
    place.pull()
    second.join(60)
    other.close()
    assert place.blobs() == place.registry.blobs
    assert len(place.downloaded()) == len(LAYERS) + 1


def test_many_small_blobs_are_not_open_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    place.registry.add("library/m", [("application/vnd.ollama.image.tensor", b"%d" % number) for number in range(10)])
    place.pull()
    assert place.blobs() == place.registry.blobs
    progress = [event["done"] for event in place.events if event["event"] == "progress"]
    assert progress[-1] == sum(map(len, place.registry.blobs.values()))


def test_too_little_space_is_said_before_the_download(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.registry.add("library/m", LAYERS)
    monkeypatch.setattr(module, "free", lambda path: 100_000)
    with pytest.raises(Error, match="no space for the download: it needs 300 kB, and 100 kB are free"):
        place.pull()
    assert place.downloaded() == []


def test_a_full_disk_is_said_as_of_a_build(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelbuild.registry.partial import Partial

    def full(self: Partial, start: int, data: bytes) -> int:
        raise OSError(28, "No space left on device", self.path)

    place.registry.add("library/m", LAYERS)
    with monkeypatch.context() as patched:
        patched.setattr(Partial, "write", full)
        with pytest.raises(Error, match="no space left for the models folder"):
            place.pull()
    assert place.pull().changed


def test_a_folder_that_cannot_be_written_is_said_before_the_download(place: Place) -> None:
    place.registry.add("library/m", LAYERS)
    Path(place.root).write_text("a file")
    with pytest.raises(Error, match="not a folder"):
        place.pull()
    assert place.downloaded() == []


def test_a_registry_that_sends_to_a_storage_in_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelbuild.registry import download

    monkeypatch.setattr(download, "PART", 50_000)
    place.registry.add("library/m", LAYERS)
    with Standin() as storage:
        storage.blobs = place.registry.blobs

        def moved(asked: Asked) -> Reply:
            return Reply(307, headers=[("Location", f"{storage.url}/data{asked.path}?signature=secret")])

        place.registry.on("GET", "/blobs/", moved)
        place.pull()
        assert sum(digest(WEIGHTS) in path for path in storage.paths()) == 6
        assert sum(digest(WEIGHTS) in path for path in place.registry.paths()) == 1
    assert place.blobs() == place.registry.blobs


NAME = Name.parse("host/ns/m")
GOOD = {"mediaType": MODEL, "digest": "sha256:" + "a" * 64, "size": 1}


def manifest(*layers: Any, config: Any = None, **more: Any) -> bytes:
    config = config or {"mediaType": CONFIG, "digest": "sha256:" + "c" * 64, "size": 2}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": list(layers), **more}).encode()


def test_the_blobs_of_a_manifest_are_each_named_once() -> None:
    assert checked(manifest(GOOD, GOOD), NAME) == [
        ActionResult("sha256:" + "c" * 64, 2),
        ActionResult("sha256:" + "a" * 64, 1),
    ]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"<html>", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"schemaVersion": 2, "manifests": []}', "an index of several manifests"),
        (b'{"layers": []}', "'config' is not an object"),
        (manifest({**GOOD, "digest": "sha512:" + "a" * 128}), "invalid digest"),
        (manifest({**GOOD, "digest": "sha256:../../../../etc/passwd"}), "invalid digest"),
        (manifest({**GOOD, "digest": "../" * 20}), "invalid digest"),
        (manifest({**GOOD, "digest": "sha256-" + "a" * 64}), "expected digests as"),
        (manifest({**GOOD, "digest": "sha256:" + "A" * 64}), "expected digests as"),
        (manifest({**GOOD, "size": -1}), "not a number of bytes"),
        (manifest({**GOOD, "size": 1e300}), "not a number of bytes"),
        (manifest({**GOOD, "size": 1 << 60}), "not a number of bytes|too large"),
        (manifest({**GOOD, "size": "1"}), "not a number of bytes"),
        (manifest(GOOD, {**GOOD, "size": 2}), "two sizes"),
        (manifest({**GOOD, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}), "its layers are of the type"),
    ],
)
def test_what_is_no_model_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(Error, match=told) as caught:
        checked(data, NAME)
    assert "'ns/m:latest' on 'host' is not a model for Ollama: " in caught.value.what


@pytest.mark.parametrize("kind", ["application/vnd.docker.ai.gguf.v3", "application/vnd.cncf.model.weight.v1.raw"])
def test_a_model_for_another_runner_is_told_as_such(kind: str) -> None:
    with pytest.raises(Error) as caught:
        checked(manifest({**GOOD, "mediaType": kind}), NAME)
    assert "for another runner" in str(caught.value.hint)


def test_a_model_without_layers_is_one_of_the_cloud() -> None:
    assert len(checked(manifest(), NAME)) == 1
