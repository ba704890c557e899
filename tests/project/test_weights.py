"""Weights as a project of one model: what it is called, and what it derives from."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.project.weights import name_after
from tests.projects import load


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/tiny", "tiny"),
        ("/x/Tiny-1.5B", "Tiny-1.5B"),
        ("/x/tiny.Q4_K_M.gguf", "tiny.Q4_K_M"),
        ("/x/tiny.GGUF", "tiny"),
        ("/x/tiny-00001-of-00003.gguf", "tiny"),
        ("/hub/models--acme--tiny", "tiny"),
        ("/hub/models--acme--tiny/snapshots/0123abcd", "tiny"),
        ("/x/snapshots/0123abcd", "0123abcd"),
    ],
)
def test_what_a_model_is_called(path: str, name: str) -> None:
    assert name_after(path) == name


def test_a_folder_is_a_project(tmp_path: Path) -> None:
    files = {"tiny/config.json": "{}", "tiny/model.safetensors": "x"}
    (only,) = load(tmp_path, None, files, file="tiny", quantize="q4_K_M", name="me/mine:v1").variants
    assert (only.label, only.quantize, [name.display() for name in only.names]) == ("tiny", "q4_K_M", ["me/mine:v1"])
    assert only.froms[0].text == str(tmp_path / "tiny")


def test_a_gguf_is_a_project_and_takes_set(tmp_path: Path) -> None:
    (only,) = load(tmp_path, None, {"a.gguf": b"GGUF"}, file="a.gguf", sets=("a.system=Hi.",)).variants
    assert only.label == "a" and only.string("system") == "Hi."


def test_a_name_that_is_none(tmp_path: Path) -> None:
    files = {"-my weights/model.safetensors": "x"}
    with pytest.raises(Error, match="'-my weights' would be the model's name") as caught:
        load(tmp_path, None, files, file="-my weights")
    assert caught.value.hint == "-t names it: -t my-weights"
    assert load(tmp_path, None, file="-my weights", name="mine").variants[0].names[0].display() == "mine:latest"
