"""Blocks for the prediction of several tokens as a user has them: a draft of its own beside the model, one edited, and both exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library
from modelbuild.tensors.formats import gguf
from tests import recipes, zoo

from .project import Project

CASE = zoo.cases("qwen3_5")["text"]
TOML = """
[model.a]
from = "./base"
pre = "gpt-2"
mtp = "split"
quantize = "{ftype}"
system = "{system}"
export = [{{ path = "out", as = "folder" }}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    zoo.write(tmp_path / "base", CASE)
    made = Project(tmp_path)
    made.write("ModelBuild.toml", TOML.format(ftype="q8_0", system="Hi"))
    return made


def blobs(project: Project) -> dict[str, Path]:
    """The model and the draft in the models folder."""
    library = Library(str(project.models))
    (found,) = [json.loads(path.read_text()) for path in project.models.glob("manifests/**/latest")]
    kinds = {manifest.MODEL: "model", manifest.DRAFT: "draft"}
    layers = [(kinds.get(each["mediaType"]), each["digest"]) for each in found["layers"]]
    return {kind: Path(library.blob_path(digest)) for kind, digest in layers if kind}


def test_the_draft_is_a_layer_and_a_file_of_its_own(project: Project) -> None:
    project.build()
    found = blobs(project)
    leaves = recipes.Folder(project.folder / "base").leaves()
    for kind, mtp in (("model", "drop"), ("draft", "only")):
        recipe = recipes.converted(project.folder / "base", pre=CASE.pre, mtp=mtp)
        assert found[kind].read_bytes() == recipes.file_of(recipes.quantized(recipe, "q8_0"), leaves)
    exported = {path.name: path for path in (project.folder / "out").iterdir()}
    assert exported["a-draft.gguf"].read_bytes() == found["draft"].read_bytes()
    assert "DRAFT ./a-draft.gguf" in exported["Modelfile"].read_text()


def test_an_edit_leaves_the_draft_alone_and_another_type_makes_it_again(project: Project) -> None:
    project.build()
    before = blobs(project)
    project.write("ModelBuild.toml", TOML.format(ftype="q8_0", system="Ho"))
    assert not any("draft" in step or "convert" in step for step in project.build())
    assert blobs(project) == before
    project.write("ModelBuild.toml", TOML.format(ftype="q4_K_M", system="Ho"))
    made = project.build()
    assert "a/quantize-draft" in made and not any("convert" in step for step in made)
    table = gguf.read_header(str(blobs(project)["draft"])).table
    assert {tensor.dtype for tensor in table.tensors.values()} > {"f32"}
    assert blobs(project)["draft"] != before["draft"]


def test_an_export_without_drafts_says_so(project: Project) -> None:
    line = "the draft of 'a'; LM Studio takes a draft from among its models"
    project.run("export", "--as", "lm-studio", "a", "lms")
    assert line in project.errors
    assert [path.name for path in (project.folder / "lms").rglob("*.gguf")] == ["a-Q8_0.gguf"]
    toml = TOML.format(ftype="q8_0", system="Hi")
    project.write("ModelBuild.toml", toml.replace('as = "folder"', 'as = "lm-studio"').replace('"out"', '"studio"'))
    project.run("build")
    assert line in project.errors
