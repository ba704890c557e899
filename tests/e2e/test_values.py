"""Metadata that follow from weights: what changes in these changes in the model, and what is wrong is told before a build."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value
from tests import zoo

from .project import Project

CASE = zoo.cases("apertus")["no scaling, heads of their own size, f32"]
BETA = "model.layers.1.mlp.act_fn.beta"
TOML = '[model.apertus]\nfrom = "./base"\npre = "gpt-2"\ntemplate = "{{ .Prompt }}"\n'


def with_beta(folder: Path, value: float) -> None:
    zoo.write(folder, replace(CASE, given={**CASE.given, BETA: struct.pack("<f", value)}))


def betas(project: Project, scratch: Path) -> list[float]:
    scratch.write_bytes(project.blob("apertus:latest", "model"))
    found = decode_value(gguf.read_header(str(scratch)).table.metadata["xielu.beta"])
    assert isinstance(found, list)
    return found


def test_a_number_in_the_weights_is_one_of_the_model(tmp_path: Path) -> None:
    with_beta(tmp_path / "base", 0.5)
    project = Project(tmp_path)
    project.write("ModelBuild.toml", TOML)
    project.build()
    assert betas(project, tmp_path / "x.gguf")[1] == 0.5
    with_beta(tmp_path / "base", 0.75)
    assert "apertus/convert" in project.build()
    assert betas(project, tmp_path / "x.gguf")[1] == 0.75
    assert project.summary["tensors_computed"] == 0
    with_beta(tmp_path / "base", float("inf"))
    project.run("check", code=1)
    assert f"'{BETA}' contains a value that is not finite" in project.errors
