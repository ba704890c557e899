"""Which blobs the manifests of a models folder name, whatever stands among them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelbuild.ollama import library
from modelbuild.ollama.library import Library, Users, default_folder, is_blob, named_blobs
from modelbuild.ollama.manifest import CONFIG, Layer, Manifest


def manifest(*digests: str) -> str:
    return json.dumps({"config": {"digest": digests[0]}, "layers": [{"digest": each} for each in digests[1:]]})


def put(path: Path, *digests: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(manifest(*digests))
    return path


def test_places(tmp_path: Path) -> None:
    assert Library("/m").blob_path("sha256:00") == "/m/blobs/sha256-00"
    assert Library("/m").manifest_path("h/n/model/tag") == "/m/manifests/h/n/model/tag"
    assert is_blob(Library("/m").blob_path("sha256:00"))
    assert not is_blob("/m/blobs/weights.gguf") and not is_blob("/m/sha256-00")


def test_manifests_are_walked_at_any_depth_and_through_links(tmp_path: Path) -> None:
    put(tmp_path / "manifests/h/n/m/t", "a", "sha256-b")
    put(tmp_path / "elsewhere/m/t", "c")
    put(tmp_path / "file", "d")
    (tmp_path / "manifests/h/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "manifests/h/n/m/copy").symlink_to(tmp_path / "file")
    (tmp_path / "manifests/h/circle").symlink_to(tmp_path / "manifests")
    put(tmp_path / "manifests/h/.modelbuild/.tmp-1", "not yet")
    assert Users(str(tmp_path / "manifests")).used() == {"a", "sha256:b", "c", "d"}


def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    library = Library(str(tmp_path))
    assert library.alike(["h/n/m/t"]) == {}
    for name in ("h/n/Chat/latest", "h/n/chat/Latest", "h/N/chat/latest", "h/n/other/latest", "h/n/chat/v1"):
        put(tmp_path / "manifests" / name, "a")
    assert library.alike(["h/n/chat/latest", "h/n/other/latest", "h/n/none/latest", "H/n/CHAT/V1"]) == {
        "h/n/chat/latest": ["h/N/chat/latest", "h/n/Chat/latest", "h/n/chat/Latest"],
        "H/n/CHAT/V1": ["h/n/chat/v1"],
    }


def test_no_manifests_name_nothing(tmp_path: Path) -> None:
    assert Users(str(tmp_path / "manifests")).used() == set()


def test_the_walk_sees_what_changed(tmp_path: Path) -> None:
    path = put(tmp_path / "manifests/h/n/m/t", "a")
    users = Users(str(tmp_path / "manifests"))
    assert users.used() == {"a"}
    path.unlink()
    put(path, "b")
    assert users.used() == {"b"}
    put(tmp_path / "manifests/h/n/m/other", "c")
    assert users.used() == {"b", "c"}


@pytest.mark.parametrize("what", ["dangling file", "dangling folder", "fifo", "text", "list", "large", "deep"])
def test_what_cannot_be_read_may_name_anything(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "manifests/h/n/m/t", "a")
    place = tmp_path / "manifests/h/n/m/odd"
    match what:
        case "dangling file":
            place.symlink_to(tmp_path / "nowhere")
        case "dangling folder":
            (tmp_path / "manifests/h/odd").symlink_to(tmp_path / "not mounted")
        case "fifo":
            os.mkfifo(place)
        case "text":
            place.write_text("no manifest")
        case "list":
            place.write_text('{"layers": {"digest": "sha256:00"}}')
        case "large":
            monkeypatch.setattr(library, "LARGEST", 10)
        case "deep":
            place.write_text("[" * 100_000)
    assert Users(str(tmp_path / "manifests")).used() is None


def test_folder_that_may_not_be_listed_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "manifests/h/n/m/t", "a")
    scan = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("/n"):
            raise PermissionError(13, "permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert Users(str(tmp_path / "manifests")).used() is None


@pytest.mark.parametrize("text", ["", "[]", "1", '{"layers": 1}', '{"layers": "sha256:00"}'])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(ValueError):
        named_blobs(text.encode())


def test_blobs_are_named_in_every_spelling_that_go_reads() -> None:
    layers = '"layers": [{"digest": "sha256:a"}], "Layers": [{"DIGEST": "sha256-b", "digest": "sha256:c"}, 5], "layerſ": null'
    text = f'{{"CONFIG": {{"Digest": "sha256:d"}}, {layers}, "subject": {{"digest": "sha256:e"}}}}'
    assert named_blobs(text.encode()) == {f"sha256:{letter}" for letter in "abcd"}


def test_the_names_of_a_models_folder(tmp_path: Path) -> None:
    made = Manifest(Layer(CONFIG, "sha256:" + "0" * 64, 1), ())
    for path in ["registry.ollama.ai/library/b/latest", "registry.ollama.ai/library/a/8b", "host:5000/ns/m/t"]:
        place = tmp_path / "manifests" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(made.encode())
    (tmp_path / "manifests/registry.ollama.ai/library/a/.DS_Store").write_bytes(b"")
    (tmp_path / "manifests/registry.ollama.ai/library/a/folder").mkdir()
    (tmp_path / "manifests/registry.ollama.ai/stray").write_bytes(b"")
    os.symlink("nowhere", tmp_path / "manifests/registry.ollama.ai/library/a/dangling")
    found = Library(str(tmp_path)).names()
    assert [name.display() for name in found] == ["host:5000/ns/m:t", "a:8b", "b:latest"]


def test_a_missing_models_folder_has_no_names(tmp_path: Path) -> None:
    assert Library(str(tmp_path / "none")).names() == []


def test_what_a_name_stands_for(tmp_path: Path) -> None:
    library = Library(str(tmp_path))
    config, layer = (Layer(CONFIG, f"sha256:{digit * 64}", 3) for digit in "01")
    path = tmp_path / "manifests/h/n/m/t"
    assert library.served("h/n/m/t") is None
    path.parent.mkdir(parents=True)
    path.write_text("no manifest")
    assert library.served("h/n/m/t") is None
    path.write_bytes(Manifest(config, (layer,)).encode())
    served = library.served("h/n/m/t")
    assert served is not None and served.size == 6 and served.model_blob is None
    assert not library.is_whole(served) and library.size(config.digest) is None
    library_blobs = tmp_path / "blobs"
    library_blobs.mkdir()
    for each in (config, layer):
        Path(library.blob_path(each.digest)).write_text("abc")
    assert library.is_whole(served) and library.size(config.digest) == 3


@pytest.mark.parametrize(
    ("env", "expected"), [(None, "/home/x/.ollama/models"), (' "/srv/m" ', "/srv/m"), ("", "/home/x/.ollama/models")]
)
def test_default_folder_is_ollamas(env: str | None, expected: str) -> None:
    assert default_folder(env, "/home/x") == expected
