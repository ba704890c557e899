"""Which words of a command line are paths, and what they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from modelbuild.cli.invocation import Invocation
from modelbuild.cli.paths import aimed
from modelbuild.cli.report import Report
from modelbuild.errors import Error
from modelbuild.session.settings import Settings
from tests.projects import write

FILES: dict[str, str | bytes] = {
    "tiny/config.json": "{}",
    "tiny/model.safetensors": "x",
    "one.gguf": b"GGUF",
    "odd": b"GGUF",
    "chat.Modelfile": "FROM ./tiny\n",
    "inner/Modelfile": "FROM ../tiny\n",
    "notes.txt": "x",
}
TOML = '[model.tiny]\nfrom = "./tiny"\n[model."one.gguf"]\nfrom = "./tiny"\n'


def aim(folder: Path, *words: str, **settings: Any) -> tuple[tuple[str, ...], str | None]:
    """The targets that are left, and the file that the settings name."""
    call = Invocation(Settings(folder=str(folder), cache=str(folder / "cache"), **settings), Report())
    try:
        values = aimed(call, {"targets": words, "jobs": 1})
    finally:
        call.close()
    file = call.settings.file
    return values["targets"], file and os.path.relpath(file, folder)


@pytest.mark.parametrize(
    ("word", "file"),
    [
        ("./tiny", "tiny"),
        ("tiny", "tiny"),
        ("tiny/", "tiny"),
        ("one.gguf", "one.gguf"),
        ("odd", "odd"),
        ("./odd", "odd"),
        ("chat.Modelfile", "chat.Modelfile"),
        ("inner", "inner/Modelfile"),
        ("./inner/Modelfile", "inner/Modelfile"),
    ],
)
def test_where_there_is_no_project_what_is_there_counts(tmp_path: Path, word: str, file: str) -> None:
    write(tmp_path, FILES)
    assert aim(tmp_path, word) == ((), file)


@pytest.mark.parametrize(
    ("word", "file"),
    [
        ("tiny", None),
        ("./tiny", "tiny"),
        ("tiny/", "tiny"),
        ("one.gguf", None),
        ("./one.gguf", "one.gguf"),
        ("chat.Modelfile", "chat.Modelfile"),
        ("inner", None),
        ("odd", "odd"),
        ("notes.txt", None),
        ("none", None),
        ("t*", None),
    ],
)
def test_where_there_is_a_project_its_targets_win(tmp_path: Path, word: str, file: str | None) -> None:
    write(tmp_path, {**FILES, "ModelBuild.toml": TOML})
    assert aim(tmp_path, word) == ((word,) if file is None else (), file)


@pytest.mark.parametrize("words", [("./tiny", "x"), ("./tiny", "./odd"), ("./none",), ("none.gguf",), ("./notes.txt",)])
def test_what_cannot_be_is_an_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    write(tmp_path, FILES)
    with pytest.raises(Error):
        aim(tmp_path, *words)
    with pytest.raises(Error, match="-f already names the project"):
        aim(tmp_path, "./tiny", file="chat.Modelfile")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("./one.guf", "did you mean './one.gguf'?"),
        ("~/a", None),
        ("~/ollma", None),
        ("~/.ollma", "did you mean '~/.ollama'?"),
        ("inner/Modlfile/", "did you mean 'inner/Modelfile'?"),
        ("a-long-folder/with-a-name/x/", None),
    ],
)
def test_a_name_that_is_near_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, hint: str | None
) -> None:
    write(tmp_path, {**FILES, ".ollama/x": "", ".a/x": "", "a-long-folder/with-a-name/quite-another": ""})
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Error, match="no such file or folder") as caught:
        aim(tmp_path, word)
    assert caught.value.hint == hint


def test_commands_of_one_target_and_of_none(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    call = Invocation(Settings(folder=str(tmp_path)), Report())
    assert aimed(call, {"target": "./tiny", "as_modelfile": True}) == {"target": None, "as_modelfile": True}
    assert os.path.normpath(call.settings.file or "") == str(tmp_path / "tiny")
    assert aimed(call, {"target": "x"}) == {"target": "x"}
    assert aimed(call, {"stale": True}) == {"stale": True}
