"""`show` of a model that is in the models folder and in no project."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from modelbuild.cli import main
from modelbuild.ollama import manifest, modelfile
from modelbuild.ollama.manifest import ConfigV2
from tests.projects import write as write_project
from tests.session.test_layers import write

LAYERS = (
    (manifest.MODEL, b"weights"),
    (manifest.ADAPTER, b"an adapter"),
    (manifest.TEMPLATE, b"{{ .System }}\n{{ .Prompt }}"),
    (manifest.SYSTEM, b"You are \x1b[31m a test."),
    (manifest.PARAMS, b'{"top_k": 1, "stop": ["a", "b"]}'),
    (manifest.MESSAGES, b'[{"role": "user", "content": "Hi"}]'),
)
CONFIG = ConfigV2(file_type="Q8_0", model_family="llama", model_type="2.6M", renderer="r")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that Ollama would read; the working folder has no project."""
    monkeypatch.setenv("MODELBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    write_project(tmp_path / "nowhere", {".git/": ""})
    monkeypatch.chdir(tmp_path / "nowhere")
    write(tmp_path / "models", *LAYERS, config=CONFIG)
    return tmp_path / "models"


def test_as_text(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["show", "m"]) == 0
    told = capsys.readouterr().out
    rows = dict(re.findall(r"^(\S+(?: \S+)*?)  +(.*)$", told, re.MULTILINE))
    assert told.startswith("m:latest\n")
    assert (rows["type"], rows["family"], rows["weights"]) == ("Q8_0", "llama", "2.6M")
    assert rows["system"] == r"You are \x1b[31m a test." and rows["template"] == "{{ .System }} {{ .Prompt }}"
    assert (rows["parameter top_k"], rows["renderer"], rows["message user"]) == ("1", "r", "Hi")
    assert Path(rows["file"]).read_bytes() == b"weights"
    assert rows["layer adapter"].endswith("  10 B")


def test_as_a_modelfile_that_says_the_same(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(models, *[each for each in LAYERS if each[0] != manifest.SYSTEM], config=CONFIG)
    assert main.main(["show", "m:latest", "--modelfile"]) == 0
    read = modelfile.parse(capsys.readouterr().out, "Modelfile")
    assert read.parameters == {"top_k": 1, "stop": ["a", "b"]}


def test_as_json(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["show", "m", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["name"], data["type"]) == ("m:latest", "Q8_0")
    assert Path(data["path"]).read_bytes() == b"weights"
    assert [each["kind"] for each in data["layers"]][:2] == ["model", "adapter"]
    assert {"name": "parameter", "key": "top_k", "value": "1"} in data["commands"]


def test_what_is_not_there_or_cannot_be_said(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["show", "llama3.2"]) == 2
    assert "`modelbuild pull llama3.2` downloads it" in capsys.readouterr().err
    write(models, (manifest.SYSTEM, b"S"))
    assert main.main(["show", "m", "--modelfile"]) == 2
    assert "'m:latest' has no GGUF file" in capsys.readouterr().err


def test_a_target_of_the_project_wins(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_project(Path.cwd(), {"ModelBuild.toml": '[model.m]\nfrom = "x.gguf"\n[model.other]\nfrom = "x.gguf"\n'})
    assert main.main(["show", "m"]) == 2
    assert "is not pulled yet" in capsys.readouterr().err
    assert main.main(["--models", str(models), "show", "me/none"]) == 2
    assert "is not a model, a variant or a group" in capsys.readouterr().err
