"""Blobs are removed only while no manifest names them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.ollama.library import Library, Users
from modelbuild.publish.removal import Removal
from modelbuild.publish.scratch import Scratch
from tests.ollama.test_survey import install


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def removal(tmp_path: Path) -> Removal:
    library = Library(str(tmp_path / "models"))
    scratch = Scratch(library, Store(str(tmp_path / "cache")))
    return Removal(library, scratch, Users(library.manifests))


def blobs(tmp_path: Path) -> set[str]:
    return {path.read_text() for path in (tmp_path / "models/blobs").iterdir()}


def test_a_blob_that_a_manifest_names_stays(tmp_path: Path, removal: Removal) -> None:
    install(tmp_path / "models", "h/n/m/a", "mine", "shared")
    install(tmp_path / "models", "h/n/m/b", "shared")
    removal.unlink(str(tmp_path / "models/manifests/h/n/m/a"))
    assert removal.unused([digest("mine"), digest("shared"), digest("nowhere")]) == sorted(
        [digest("mine"), digest("nowhere")]
    )
    assert {"shared"} < blobs(tmp_path) and "mine" not in blobs(tmp_path)


def test_nothing_goes_while_a_manifest_cannot_be_read(tmp_path: Path, removal: Removal) -> None:
    path = install(tmp_path / "models", "h/n/m/a", "mine")
    path.write_text("{")
    assert removal.unused([digest("mine")]) is None
    assert "mine" in blobs(tmp_path)


def test_what_a_server_names_meanwhile_is_put_back(
    tmp_path: Path, removal: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(tmp_path / "models", "h/n/m/a", "mine")
    text = path.read_text()
    path.unlink()
    set_aside = Scratch.set_aside

    def and_pull(scratch: Scratch, blob: str) -> str:
        aside = set_aside(scratch, blob)
        path.write_text(text)
        return aside

    monkeypatch.setattr(Scratch, "set_aside", and_pull)
    assert removal.unused([digest("mine")]) == []
    assert "mine" in blobs(tmp_path)


def test_nothing_is_left_lying_where_a_blob_cannot_be_kept(tmp_path: Path, removal: Removal) -> None:
    install(tmp_path / "models", "h/n/m/a", "one", "two").unlink()

    def spare(blob: str, path: str) -> bool:
        raise Error("the cache cannot be written")

    with pytest.raises(Error):
        removal.unused([digest("one"), digest("two")], spare)
    assert not {"one", "two"} & blobs(tmp_path)
    assert [path.name for path in (tmp_path / "models/.modelbuild").iterdir()] == []


def test_empty_folders_go_with_the_last_manifest(tmp_path: Path, removal: Removal) -> None:
    path = install(tmp_path / "models", "h/n/m/a", "mine")
    install(tmp_path / "models", "h/o/m/a", "mine")
    removal.unlink(str(path))
    assert not (tmp_path / "models/manifests/h/n").exists() and (tmp_path / "models/manifests/h/o/m/a").exists()
