"""The models folder of commands that need no project."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.session.models_root import find, installed_models, models_root
from modelbuild.session.settings import Settings
from tests.e2e.in_process import InProcess


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    (tmp_path / "work").mkdir()
    return tmp_path


def test_without_a_project_it_is_ollamas(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(folder=str(home / "work"))
    assert models_root(settings) == str(home / "home/.ollama/models")
    monkeypatch.setenv("OLLAMA_MODELS", "'elsewhere' ")
    assert models_root(settings) == str(home / "work/elsewhere")
    assert models_root(settings._replace(models="named")) == str(home / "work/named")


def test_in_a_project_it_is_the_projects(home: Path) -> None:
    toml = home / "work/ModelBuild.toml"
    toml.write_text('[project]\nmodels = "here"\n')
    assert models_root(Settings(folder=str(home / "work"))) == str(home / "work/here")
    assert models_root(Settings(folder=str(home), file=str(toml))) == str(home / "work/here")
    toml.write_text("[projekt]")
    with pytest.raises(Errors):
        models_root(Settings(folder=str(home / "work")))
    assert models_root(Settings(folder=str(home / "work"), models="/m")) == "/m"


def test_nothing_is_left_behind(home: Path) -> None:
    with installed_models(Settings(folder=str(home / "work"), models=str(home / "m"))) as models:
        assert models.library.root == str(home / "m")
    assert not (home / "m").exists()


def test_in_the_folder_of_a_part_its_words_are_no_installed_names(home: Path) -> None:
    work = home / "work"
    (work / "vision").mkdir()
    (work / "ModelBuild.toml").write_text('[project]\ninclude = ["*/ModelBuild.toml"]\n')
    (work / "vision/ModelBuild.toml").write_text('[model.chat]\nfrom = "./w"\nname = "acme/talk"\n')
    project = InProcess(work)
    project.models = home / "m"
    project.checkpoint("vision/w", layers=1)
    settings = Settings(folder=str(work / "vision"), models=str(home / "m"))

    def hint(text: str, folder: Path = work / "vision") -> str | None:
        with installed_models(settings) as models, pytest.raises(Error, match="in this models folder") as caught:
            find(models, text, settings._replace(folder=str(folder)))
        return caught.value.hint

    assert hint("chat") == "the 'chat' of this part is 'acme/talk'; build it first"
    project.build()
    assert hint("chat") == (
        "the 'chat' of this part is 'acme/talk'; name it so: an installed model has its whole name in every folder"
    )
    for other in (hint("none"), hint("chat", work), hint("chat", home)):
        assert other == "`modelbuild list --installed` lists its models"
    with installed_models(settings) as models:
        assert find(models, "acme/talk", settings).display() == "acme/talk:latest"
