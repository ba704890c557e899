"""No tensor is computed twice: after a revert, on another branch and back, and in another project over the same weights."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.project import Project, flip, tensor_offset

TOML = '[defaults]\nquantize = "{quant}"\n[model.chat]\nfrom = "./weights"\nsystem = "{system}"\n'
SHARD = "weights/model.safetensors"
TENSORS = 21


def written(project: Project, quant: str = "q4_K_M", system: str = "One.") -> None:
    project.write("ModelBuild.toml", TOML.format(quant=quant, system=system))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = InProcess(tmp_path / "project")
    written(project)
    project.checkpoint()
    return project


def computed(project: Project, **places: Path) -> int:
    project.build(**places)
    return int(project.summary["tensors_computed"])


def git(project: Project, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(project.folder), *words],
        check=True,
        capture_output=True,
    )


def test_three_tensors_of_a_changed_file_are_computed_and_the_others_copied(project: Project) -> None:
    assert computed(project) == TENSORS
    for name in ("k_proj", "q_proj", "v_proj"):
        flip(project.folder / SHARD, tensor_offset(project.folder / SHARD, f"model.layers.1.self_attn.{name}.weight"))
    assert computed(project) == 3
    assert project.summary["tensors_reused"] == TENSORS - 3
    tree = project.tree()
    assert computed(project, cache=project.folder / "other", models=project.folder / "clean") == TENSORS
    assert tree == project.tree(project.folder / "clean")


def test_a_revert_computes_nothing(project: Project) -> None:
    assert computed(project) == TENSORS
    before = project.tree()
    offset = tensor_offset(project.folder / SHARD, "model.layers.0.mlp.up_proj.weight")
    flip(project.folder / SHARD, offset)
    assert computed(project) == 1
    flip(project.folder / SHARD, offset)
    assert computed(project) == 0
    assert project.tree() == before
    written(project, "q8_0")
    assert 0 < computed(project) < TENSORS
    written(project)
    assert computed(project) == 0
    assert project.tree() == before


def test_switching_branches_back_and_forth_computes_nothing(project: Project) -> None:
    git(project, "init", "-q", "-b", "main")
    (project.folder / ".gitignore").write_text("cache\nmodels\n")
    git(project, "add", ".")
    git(project, "commit", "-qm", "one")
    assert computed(project) == TENSORS
    trees = {"main": project.tree()}
    git(project, "checkout", "-qb", "other")
    written(project, "q8_0", "Two.")
    flip(project.folder / SHARD, tensor_offset(project.folder / SHARD, "model.layers.0.mlp.up_proj.weight"))
    git(project, "commit", "-qam", "two")
    assert computed(project) > 0
    trees["other"] = project.tree()
    for branch in ("main", "other", "main", "other"):
        git(project, "checkout", "-q", branch)
        assert computed(project) == 0, branch
        assert project.tree() == trees[branch]


def test_another_project_over_the_same_weights_computes_nothing(project: Project, tmp_path: Path) -> None:
    assert computed(project) == TENSORS
    second = InProcess(tmp_path / "second")
    second.cache = project.cache
    written(second, system="Another project.")
    shutil.copytree(project.folder / "weights", second.folder / "weights")
    assert computed(second) == 0
    third = InProcess(tmp_path / "third")
    third.cache, third.models = project.cache, project.models
    third.write("ModelBuild.toml", TOML.replace("chat", "same").format(quant="q4_K_M", system="Third."))
    (third.folder / "weights").symlink_to(project.folder / "weights")
    assert computed(third) == 0
    second.check()
    project.check()
