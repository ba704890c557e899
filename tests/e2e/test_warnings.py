"""What is built, and worth a look: said once where a model is made and by `check`, and never where there is nothing to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests import checkpoints

from .project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def saved(project: Project, name: str, files: int, numbered: int) -> Path:
    """A checkpoint of some files, whose names count another number of them."""
    folder = checkpoints.write(project.folder / name / "weights", shards=files)
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    for path in list(folder.glob("model-*.safetensors")):
        path.rename(path.with_name(path.name.replace(f"-of-{files:05}", f"-of-{numbered:05}")))
    return folder


def test_files_that_count_others_are_taken_as_they_are(project: Project) -> None:
    saved(project, "odd", 3, 6)
    saved(project, "right", 3, 3)
    cut = saved(project, "cut", 3, 6)
    (cut / "model-00002-of-00006.safetensors").unlink()
    project.write(
        "ModelBuild.toml", "".join(f'[model.{name}]\nfrom = "./{name}/weights"\n' for name in ("odd", "right", "cut"))
    )
    project.run("check", "odd", "right")
    assert project.errors.count("the weights files are named as 6 files, but only 3 are here") == 1
    project.build("odd", "right")
    assert project.manifest("odd:latest") == project.manifest("right:latest")
    assert "odd/weights: the weights files are named as 6 files, but only 3 are here" in project.errors
    project.run("check", "cut", code=1)
    assert "the checkpoint lacks" in project.errors and "missing" in project.errors
    assert "4 of 6 files: model-00002-of-00006.safetensors" in project.errors
    project.run("cut", code=1)


def test_an_index_of_another_save_decides_nothing(project: Project) -> None:
    folder = checkpoints.write(project.folder / "weights", shards=2)
    index = folder / "model.safetensors.index.json"
    named = json.loads(index.read_text())
    named["weight_map"] = {name: file.replace("of-00002", "of-00004") for name, file in named["weight_map"].items()}
    index.write_text(json.dumps(named))
    project.write("Modelfile", "FROM ./weights\n")
    project.build()
    named["weight_map"]["model.layers.9.mlp.up_proj.weight"] = "model-00004-of-00004.safetensors"
    index.write_text(json.dumps(named))
    project.run("check", code=1)
    assert "names 1 tensors that no weights file contains" in project.errors
    assert "model-00004-of-00004.safetensors" in project.errors


def test_a_type_that_falls_back_is_told_once(project: Project) -> None:
    project.checkpoint(hidden=64, intermediate=96)
    project.write("ModelBuild.toml", '[model.m]\nfrom = "./weights"\nquantize = "q4_K_M"\n')
    for words in (["check"], []):
        project.run(*words)
        assert project.errors.count("fall back to other types: 256 does not divide their rows") == 1
        assert "ModelBuild.toml:3:" in project.errors and "q4_k -> q5_0" in project.errors
    project.run()
    assert project.errors.startswith("nothing to do")
    project.write("ModelBuild.toml", '[model.m]\nfrom = "./weights"\nquantize = "q4_K_M"\nsystem = "x"\n')
    project.run()
    assert "warning" not in project.errors
    told = json.loads(project.run("--json", "check"))
    assert "fall back" in told["warnings"][0]["message"]


def test_warnings_do_not_keep_a_build_from_being_finished(project: Project) -> None:
    shutil.rmtree(project.folder / "cache", ignore_errors=True)
    project.checkpoint()
    project.write("Modelfile", "FROM ./weights\nPARAMETER mirostat 1\n")
    project.run()
    assert "warning: " in project.errors
    project.run()
    project.run()
    assert project.errors.startswith("nothing to do") and "warning" not in project.errors


def test_a_gguf_without_its_number_of_blocks_is_named(project: Project) -> None:
    from modelbuild.tensors.formats.gguf import encode_value, header

    (project.folder / "m.gguf").write_bytes(
        header({"general.architecture": encode_value("str", "other")}, [("a.weight", "f32", (32, 32))]) + bytes(4096)
    )
    project.write("ModelBuild.toml", '[model.m]\nfrom = "./m.gguf"\nquantize = "q8_0"\n')
    project.run("check", code=1)
    assert "m.gguf: 'other.block_count' is missing" in project.errors
