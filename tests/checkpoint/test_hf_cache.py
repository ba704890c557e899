"""Folders of the Hugging Face cache: which snapshot is meant, and downloads that were not finished."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from modelbuild.checkpoint import hf_cache, shards
from modelbuild.errors import Error
from modelbuild.observed import Observed
from tests import checkpoints
from tests.e2e.project import Project

OLD, NEW = "0" * 39 + "1", "f" * 40


def cached(root: Path, *revisions: str, main: str | None = None, name: str = "models--acme--tiny") -> Path:
    """A model of the cache: each file a link into blobs/."""
    folder = root / name
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshots").mkdir()
    for number, revision in enumerate(revisions):
        plain = checkpoints.write(root / f"plain{number}", rope_theta=10000.0 + number)
        snapshot = folder / "snapshots" / revision
        snapshot.mkdir()
        for path in plain.iterdir():
            blob = folder / "blobs" / f"{number}{path.name.encode().hex()}"
            shutil.move(path, blob)
            (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
        plain.rmdir()
    if main is not None:
        (folder / "refs").mkdir()
        (folder / "refs/main").write_text(main)
    return folder


def snapshot(folder: Path) -> str:
    return os.path.relpath(hf_cache.snapshot(str(folder), Observed()), folder)


def test_the_snapshot_is_the_one_that_main_names(tmp_path: Path) -> None:
    assert snapshot(cached(tmp_path, OLD, NEW, main=NEW + "\n")) == f"snapshots/{NEW}"


def test_without_a_main_the_only_snapshot_is_meant(tmp_path: Path) -> None:
    assert snapshot(cached(tmp_path, OLD)) == f"snapshots/{OLD}"


def test_any_other_folder_is_itself(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    assert snapshot(folder) == "."
    (folder / "snapshots").mkdir()
    assert snapshot(folder) == "."


@pytest.mark.parametrize(
    "main", [None, "a" * 40, "../../../etc", f"../snapshots/{OLD}", "", "x" * 5000, "\0", "caf\u00e9"]
)
def test_what_main_does_not_tell_is_an_error_that_lists_the_snapshots(main: str | None, tmp_path: Path) -> None:
    folder = cached(tmp_path, OLD, NEW, main=main)
    with pytest.raises(Error, match="refs/main names (a snapshot that is missing|none of them)") as caught:
        snapshot(folder)
    assert f"snapshots/{OLD}, snapshots/{NEW}" in dict(caught.value.facts)["snapshots"]
    assert caught.value.hint


def test_a_model_without_a_snapshot_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Error, match="without a snapshot") as caught:
        snapshot(cached(tmp_path))
    assert caught.value.hint == "`hf download acme/tiny`, then build again"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.model"])
def test_a_link_to_nothing_is_a_download_that_was_not_finished(name: str, tmp_path: Path) -> None:
    folder = cached(tmp_path, NEW) / "snapshots" / NEW
    hf_cache.check_links(str(folder), shards.FILES)
    (folder / name).resolve().unlink()
    with pytest.raises(Error, match="the download is incomplete: a file is a link to nothing") as caught:
        hf_cache.check_links(str(folder), shards.FILES)
    assert dict(caught.value.facts)["files"] == name
    assert caught.value.hint == "`hf download acme/tiny`, then build again"


def test_links_that_go_round_are_an_error(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("model-2.safetensors")
    (folder / "model-2.safetensors").symlink_to("model.safetensors")
    with pytest.raises(Error, match="2 files are links to nothing"):
        hf_cache.check_links(str(folder), shards.FILES)


def test_links_that_no_conversion_needs_may_lead_nowhere(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    (folder / "pytorch_model.bin").symlink_to("../../blobs/gone")
    hf_cache.check_links(str(folder), shards.FILES)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_cache_builds_as_its_snapshot_does(project: Project) -> None:
    cached(project.folder, OLD, NEW, main=NEW)
    at = f"models--acme--tiny/snapshots/{NEW}"
    project.write("ModelBuild.toml", f'[model.a]\nfrom = "./models--acme--tiny"\n[model.b]\nfrom = "./{at}"\n')
    project.build()
    assert project.manifest("a:latest") == project.manifest("b:latest")
    assert project.build("a") == {}
    (project.folder / "models--acme--tiny/refs/main").write_text(OLD)
    assert "a/convert" in project.build()
    assert project.manifest("a:latest") != project.manifest("b:latest")


def test_an_unfinished_download_is_said_at_its_from(project: Project) -> None:
    folder = cached(project.folder, NEW, main=NEW)
    (folder / "snapshots" / NEW / "model.safetensors").resolve().unlink()
    project.write("ModelBuild.toml", '[model.a]\nfrom = "./models--acme--tiny"\n')
    project.run(code=2)
    assert "ModelBuild.toml:2:8: model 'a': './models--acme--tiny': the download is incomplete" in project.errors


@pytest.mark.parametrize(
    ("class_name", "expected"), [("XLMRobertaModel", "sentencepiece.bpe.model"), ("LlamaForCausalLM", None)]
)
def test_pieces_are_looked_for_only_where_they_decide_bytes(
    class_name: str, expected: str | None, tmp_path: Path
) -> None:
    """A snapshot from before they were looked for stays whole."""
    folder, missing = tmp_path / "snapshot", tmp_path / "missing"
    for each in (folder, missing):
        each.mkdir()
    (folder / "config.json").write_text(f'{{"architectures": ["{class_name}"]}}')
    (folder / "model.safetensors").write_bytes(b"")
    for name in (*shards.FILES, hf_cache.TEMPLATES, "modules.json"):
        (missing / name).touch()
    assert hf_cache.lacking(hf_cache.Snapshot(str(folder), str(missing)), Observed()) == expected
