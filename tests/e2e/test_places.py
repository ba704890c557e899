"""Where things lie: folders named on the command line and in the environment mean the same from everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e import warm
from tests.e2e.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    project = Project(tmp_path)
    project.checkpoint()
    project.write("chat/Modelfile", "FROM ../weights\n")
    project.write("ModelBuild.toml", '[project]\nmodelfiles = ["*/Modelfile"]\n')
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    return project


def run(folder: Path, *words: str, code: int = 0, **environment: str) -> str:
    done = warm.run(words, folder, **{"HOME": str(folder), **os.environ, **environment})
    assert done.code == code, done.err
    return done.err


def test_the_models_option_starts_where_it_was_given(project: Project) -> None:
    for name in ("here", "there"):
        run(project.folder / name, "--cache", str(project.cache), "--models", "out")
        project.check(project.folder / name / "out")
        assert (project.folder / name / "out" / "blobs").is_dir()


def test_c_is_where_every_relative_folder_starts(project: Project) -> None:
    run(project.folder, "-C", "here", "--cache", "cache", "--models", "out")
    run(project.folder, "-C", "there", MODELBUILD_CACHE="cache", OLLAMA_MODELS="out")
    for name in ("here", "there"):
        assert {path.name for path in (project.folder / name).iterdir()} == {"cache", "out"}


def test_another_home_has_another_models_folder(project: Project) -> None:
    for name in ("here", "there"):
        home = project.folder / name
        run(project.folder, "--cache", str(project.cache), HOME=str(home))
        project.check(home / ".ollama/models")
        assert (home / ".ollama/models/blobs").is_dir()


def test_a_modelfile_is_named_after_its_folder_however_it_is_reached(project: Project) -> None:
    (project.folder / "chat/deep").mkdir()
    run(project.folder / "chat/deep", "-f", "../Modelfile", "--cache", "../../cache", "--models", "../../models")
    assert project.manifest("chat:latest")


def test_a_project_reached_through_a_link_is_the_same_project(project: Project) -> None:
    (project.folder / "here/link").symlink_to(project.folder)
    places = ("--cache", str(project.cache), "--models", str(project.models))
    run(project.folder, *places)
    for way in (("-C", "link"), ("-f", "link/ModelBuild.toml"), ("-C", "link/there", "-f", "../ModelBuild.toml")):
        assert "nothing to do" in run(project.folder / "here", *places, *way)
        assert "nothing to rebuild" in run(project.folder / "here", *places, *way, "-n")


def test_a_folder_in_place_of_a_file_is_called_one(project: Project) -> None:
    assert "chat: is a folder" in run(project.folder, "-f", "chat", code=2)


def test_a_cache_limit_that_is_no_number_is_an_error(project: Project) -> None:
    told = run(project.folder, "--cache", "cache", "--models", "m", code=1, MODELBUILD_CACHE_LIMIT="10G")
    assert (
        told
        == "error: $MODELBUILD_CACHE_LIMIT expects a number of bytes, got '10G'\n  hint  write it without a unit: 68719476736 are 64 GiB\n"
    )
