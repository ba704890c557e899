"""`list --installed`, as text and as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelbuild.cli import main
from tests.ollama.test_survey import install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    for name in ("registry.ollama.ai/library/chat/latest", "registry.ollama.ai/me/chat/v1", "h:5000/n/m/t"):
        os.utime(install(tmp_path / "models", name, "weights"), (0, 0))
    return tmp_path


def names(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main.main(["list", "--installed", "--json", *words]) == 0
    return [each["name"] for each in json.loads(capsys.readouterr().out)]


def test_names_and_globs_choose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert names(capsys) == ["h:5000/n/m:t", "chat:latest", "me/chat:v1"]
    assert names(capsys, "chat") == ["chat:latest"]
    assert names(capsys, "me/chat") == names(capsys, "me/*") == ["me/chat:v1"]
    assert names(capsys, "h:5000/n/m:t", "chat:latest") == ["h:5000/n/m:t", "chat:latest"]
    assert names(capsys, "nothing") == []


def test_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "models/manifests/h:5000/n/m/x y").write_text("")
    assert main.main(["list", "--installed"]) == 0
    out, err = capsys.readouterr()
    head, first, *_ = out.splitlines()
    assert head.split() == ["NAME", "ID", "TYPE", "SIZE", "MODIFIED"]
    assert first.split()[0] == "h:5000/n/m:t" and first.split()[2:] == ["Q8_0", "28", "B", "1970-01-01", "00:00"]
    assert "warning: models/manifests/h:5000/n/m/x y: this file among the manifests is not a model's" in err


def test_an_empty_folder_and_a_name_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", "--installed", "nothing"]) == 0
    assert capsys.readouterr().err == f"no model in {folder}/models has such a name\n"
    assert main.main(["--models", "empty", "list", "--installed"]) == 0
    assert capsys.readouterr().err == f"no model in {folder}/empty\n"
