"""Which blobs the manifests of a models folder name, whatever stands among them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelbuild import library
from modelbuild.library import Users, blob_path, manifest_path, named_blobs


def manifest(*digests: str) -> str:
    return json.dumps({"config": {"digest": digests[0]}, "layers": [{"digest": each} for each in digests[1:]]})


def put(path: Path, *digests: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(manifest(*digests))
    return path


def test_places(tmp_path: Path) -> None:
    assert blob_path("/m", "sha256:00") == "/m/blobs/sha256-00"
    assert manifest_path("/m", "h/n/model/tag") == "/m/manifests/h/n/model/tag"


def test_manifests_are_walked_at_any_depth_and_through_links(tmp_path: Path) -> None:
    put(tmp_path / "manifests/h/n/m/t", "a", "sha256-b")
    put(tmp_path / "elsewhere/m/t", "c")
    put(tmp_path / "file", "d")
    (tmp_path / "manifests/h/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "manifests/h/n/m/copy").symlink_to(tmp_path / "file")
    (tmp_path / "manifests/h/circle").symlink_to(tmp_path / "manifests")
    put(tmp_path / "manifests/h/.modelbuild/.tmp-1", "not yet")
    assert Users(str(tmp_path)).used() == {"a", "sha256:b", "c", "d"}


def test_no_manifests_name_nothing(tmp_path: Path) -> None:
    assert Users(str(tmp_path)).used() == set()


def test_the_walk_sees_what_changed(tmp_path: Path) -> None:
    path = put(tmp_path / "manifests/h/n/m/t", "a")
    users = Users(str(tmp_path))
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
    assert Users(str(tmp_path)).used() is None


def test_folder_that_may_not_be_listed_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "manifests/h/n/m/t", "a")
    scan = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("/n"):
            raise PermissionError(13, "permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert Users(str(tmp_path)).used() is None


@pytest.mark.parametrize("text", ["", "[]", "1", '{"layers": 1}', '{"layers": "sha256:00"}'])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(ValueError):
        named_blobs(text.encode())
