"""Models of a models folder get other names and are removed, whoever put them there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.publish.installed import InstalledModels, alike
from modelbuild.publish.written import Owner, Written
from tests.ollama.test_survey import install


@pytest.fixture
def models(tmp_path: Path) -> InstalledModels:
    return InstalledModels(str(tmp_path / "models"), Store(str(tmp_path / "cache")))


def name(text: str) -> Name:
    return Name.parse(text)


def put(tmp_path: Path, text: str, *texts: str) -> Path:
    return install(tmp_path / "models", name(text).path(), *texts)


def blobs(tmp_path: Path) -> set[str]:
    return {path.read_text() for path in (tmp_path / "models/blobs").iterdir() if not path.name.startswith(".")}


def test_a_copy_is_the_same_manifest_over_the_same_blobs(tmp_path: Path, models: InstalledModels) -> None:
    path = put(tmp_path, "chat", "weights")
    before = blobs(tmp_path)
    assert models.copy(name("chat"), name("me/other:v1"), replace=False)
    models.tidy()
    copied = tmp_path / "models/manifests/registry.ollama.ai/me/other/v1"
    assert copied.read_bytes() == path.read_bytes()
    assert blobs(tmp_path) == before
    assert not (tmp_path / "models/.modelbuild").exists()
    assert not models.copy(name("chat"), name("me/other:v1"), replace=False)


def test_a_copy_replaces_another_model_only_if_it_may(tmp_path: Path, models: InstalledModels) -> None:
    put(tmp_path, "chat", "weights")
    other = put(tmp_path, "other", "other weights")
    before = other.read_bytes()
    with pytest.raises(Error, match="another model has the name 'other:latest'"):
        models.copy(name("chat"), name("other"), replace=False)
    assert other.read_bytes() == before
    assert models.copy(name("chat"), name("other"), replace=True)
    assert other.read_bytes() != before
    assert "other weights" not in blobs(tmp_path) and "weights" in blobs(tmp_path), (
        "what only the replaced model named goes"
    )


def test_a_model_that_is_not_whole_is_not_copied(tmp_path: Path, models: InstalledModels) -> None:
    path = put(tmp_path, "chat", "weights")
    (tmp_path / "models/blobs" / f"sha256-{hashlib.sha256(b'weights').hexdigest()}").unlink()
    with pytest.raises(Error, match="'chat:latest' lacks a blob"):
        models.copy(name("chat"), name("new"), replace=False)
    path.write_text("{")
    with pytest.raises(Error, match="not JSON"):
        models.copy(name("chat"), name("new"), replace=False)
    assert not (path.parents[1] / "new").exists()


def test_a_name_is_found_or_said_to_be_missing(tmp_path: Path, models: InstalledModels) -> None:
    put(tmp_path, "Chat:v1", "weights")
    assert models.find("Chat:v1") == name("Chat:v1")
    for text, hint in (("chat:v1", "did you mean 'Chat:v1'?"), ("Chatt:v1", "did you mean 'Chat:v1'?")):
        with pytest.raises(Error) as found:
            models.find(text)
        assert found.value.hint == hint
    with pytest.raises(Error, match="invalid model name"):
        models.find("../../etc:x")


def test_only_blobs_that_nobody_else_names_go(tmp_path: Path, models: InstalledModels) -> None:
    put(tmp_path, "chat", "weights", "mine")
    put(tmp_path, "other", "weights")
    (tmp_path / "models/blobs/sha256-partial").write_text("somebody is at work")
    would = models.would_remove([name("chat")])
    removed = models.remove([name("chat")])
    models.tidy()
    assert removed == would == ({"sha256:" + hashlib.sha256(b"mine").hexdigest(): 4}, False)
    assert blobs(tmp_path) == {"weights", '{"file_type": "Q8_0"}', "somebody is at work"}
    assert models.library.names() == [name("other")]


def test_blobs_stay_where_a_manifest_is_damaged_and_it_can_be_removed(tmp_path: Path, models: InstalledModels) -> None:
    put(tmp_path, "chat", "mine")
    put(tmp_path, "damaged", "weights").write_text("{")
    assert models.would_remove([name("chat")]) == models.remove([name("chat")]) == ({}, True)
    assert "mine" in blobs(tmp_path)
    assert models.would_remove([name("damaged")]) == models.remove([name("damaged")]) == ({}, False)
    assert models.library.names() == []


def test_a_manifest_that_names_files_elsewhere_removes_none(tmp_path: Path, models: InstalledModels) -> None:
    path = put(tmp_path, "chat", "mine")
    mine = hashlib.sha256(b"mine").hexdigest()
    path.write_text(path.read_text().replace(f"sha256:{mine}", "sha256:/../../precious"))
    (tmp_path / "precious").write_text("mine")
    removed = models.remove([name("chat")])
    assert (tmp_path / "precious").exists() and "mine" in blobs(tmp_path)
    assert list(removed.blobs) == ["sha256:" + hashlib.sha256(b'{"file_type": "Q8_0"}').hexdigest()]


def test_hundreds_of_models_are_removed_in_one_go(tmp_path: Path, models: InstalledModels) -> None:
    for number in range(300):
        put(tmp_path, f"m{number}", "shared", f"{number}")
    gone = [name(f"m{number}") for number in range(0, 300, 2)]
    removed = models.remove(gone)
    assert len(removed.blobs) == 150
    assert blobs(tmp_path) == {"shared", '{"file_type": "Q8_0"}', *(str(number) for number in range(1, 300, 2))}


def test_a_name_of_a_project_is_known_and_forgotten(tmp_path: Path, models: InstalledModels) -> None:
    put(tmp_path, "chat", "weights")
    file = tmp_path / "ModelBuild.toml"
    written = Written(Store(str(tmp_path / "cache")).database, models.library.root)
    written.note({name("chat").path(): "sha256:0"}, Owner(str(file)))
    assert models.owners([name("chat")]) == {}
    file.touch()
    assert models.owners([name("chat")]) == {name("chat"): str(file)}
    models.remove([name("chat")])
    assert written.names() == {}


def test_names_that_differ_only_in_case(tmp_path: Path, models: InstalledModels) -> None:
    put(tmp_path, "chat", "weights")
    models.copy(name("chat"), name("CHAT"), replace=False)
    warning = alike(models.library, name("CHAT"))
    assert warning is not None and "'CHAT:latest' differs from 'chat:latest' only in case" in warning.what
    assert alike(models.library, name("other")) is None
