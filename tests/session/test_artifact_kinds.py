"""What a file of the cache is."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.session.artifact_kinds import KINDS, kind
from modelbuild.tensors.recipe import Recipe
from tests.e2e.in_process import InProcess


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GGUF\3\0\0\0", "weights"),
        (b"\x48\0\0\0\0\0\0\0" + b'{"a":{"dtype":"F32"}}', "weights"),
        (Recipe({}, []).encode(), "recipe"),
        (b'{"schemaVersion":2}', "manifest"),
        (b'{"model_format":"gguf"}', "config"),
        (b'{"temperature":1}', "text"),
        (b"", "text"),
    ],
)
def test_a_kind_is_told_by_the_first_bytes(data: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    assert kind(str(tmp_path / "x")) == expected
    assert expected in KINDS


def test_what_was_set_aside_is_damaged_and_what_is_no_file_a_text(tmp_path: Path) -> None:
    assert kind(str(tmp_path / "damaged/x")) == "damaged"
    assert kind(str(tmp_path)) == "text"


def test_a_build_makes_files_of_all_kinds(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[model.m]\nfrom = "./weights"\nsystem = "S"\n')
    project.build()
    found = {kind(str(path)) for path in (project.cache / "blobs").iterdir()}
    assert found == {"weights", "recipe", "config", "manifest", "text"}
