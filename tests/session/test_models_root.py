"""The models folder of commands that need no project."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Errors
from modelbuild.session.models_root import installed_models, models_root
from modelbuild.session.settings import Settings


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
