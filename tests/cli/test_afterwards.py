"""What a build ends with: how to run a model, and what the server that runs here makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.cli import afterwards
from modelbuild.ollama import server

CHAT = {"registry.ollama.ai/library/chat/latest": "sha256:11"}
SEVERAL = {f"registry.ollama.ai/library/m/{number}": "sha256:22" for number in range(200)}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_HOST")
    return tmp_path


def lists(monkeypatch: pytest.MonkeyPatch, models: dict[str, str] | None) -> None:
    monkeypatch.setattr(server, "listed", lambda at: models)


def test_a_model_that_makes_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    lists(monkeypatch, {"chat:latest": "", "m:0": "", "m:1": ""})
    line, _ = afterwards.said("/m", CHAT, made=lambda name: "embeddings")
    assert line.startswith("in /m; chat makes embeddings, not text; ask a server for them: Ollama's /api/embed")
    line, _ = afterwards.said("/m", CHAT, made=lambda name: "scores")
    assert line.startswith("in /m; chat makes scores, not text; ask llama-server") and "ollama run" not in line
    few = dict(list(SEVERAL.items())[:2])
    line, _ = afterwards.said("/m", few, made=lambda name: "text" if name.endswith("1") else "embeddings")
    assert line == "in /m; try one: modelbuild run m:1, or ollama run m:1"


def test_no_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists(monkeypatch, None)
    folder = str(home / ".ollama/models")
    assert afterwards.said(folder, CHAT) == ("in ~/.ollama/models; try it: modelbuild run chat", None)
    assert afterwards.said(folder, SEVERAL)[0] == "in ~/.ollama/models; try one: modelbuild run m:0"
    line = "in /my models; try it: modelbuild --models '/my models' run chat"
    assert afterwards.said("/my models", CHAT, options=["--models", "/my models"]) == (line, None)


def test_a_server_that_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lists(monkeypatch, {"chat:latest": "11", "other:latest": "33"})
    assert afterwards.said("/m", CHAT) == ("in /m; try it: modelbuild run chat, or ollama run chat", None)
    lists(monkeypatch, {"chat:latest": ""})
    assert afterwards.said("/m", CHAT)[1] is None


def test_a_server_of_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    lists(monkeypatch, {})
    line, warning = afterwards.said("/m", CHAT)
    assert line == "in /m; try it: modelbuild run chat" and warning is not None
    assert warning.what == (
        "the Ollama server at 127.0.0.1:11434 does not list 'chat:latest', so `ollama run` would try to pull it: "
        "it reads another models folder"
    )
    assert warning.facts == (("built into", "/m"),)
    assert warning.hint is not None
    assert "(the Linux service's is /usr/share/ollama/.ollama/models): sudo modelbuild --models FOLDER" in warning.hint
    assert warning.hint.startswith("send it there: `modelbuild --ollama chat`; or build into its folder")
    assert "or start a server on this one: OLLAMA_MODELS=/m ollama serve" in warning.hint
    warning = afterwards.said("/m", SEVERAL)[1]
    assert warning is not None and warning.what.count("'") == 2 * (afterwards.MOST - 1)


def test_a_server_with_another_model_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    lists(monkeypatch, {"chat:latest": "99"})
    warning = afterwards.said("/m", CHAT)[1]
    assert warning is not None and "lists a different 'chat:latest'" in warning.what


@pytest.mark.parametrize("host", ["example.com", "https://127.0.0.1"])
def test_a_server_elsewhere_is_not_asked(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    monkeypatch.setattr(server, "listed", lambda at: pytest.fail("asked"))
    assert afterwards.said("/m", CHAT)[1] is None


def test_a_folder_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    lists(monkeypatch, None)
    monkeypatch.setattr(afterwards, "owner", lambda folder: "ollama")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    warning = afterwards.said("/m", CHAT)[1]
    assert warning is not None and warning.what.startswith("the models folder belongs to 'ollama'")
    assert warning.hint is not None and "sudo -u ollama" in warning.hint
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert afterwards.said("/m", CHAT)[1] is None


def test_the_name_to_run_is_the_shortest_of_what_was_published() -> None:
    models = [("h/n/m/f16",), ("h/n/m/q8_0", "h/n/m/latest"), ("h/n/other/latest",)]
    published = {"h/n/m/f16": "sha256:1", "h/n/m/q8_0": "sha256:2"}
    found = afterwards.by_shortest(models, published)
    assert list(found.items()) == [("h/n/m/latest", "sha256:2"), ("h/n/m/f16", "sha256:1")]
