"""If the cache is on another disk than the models folder, a replaced layer stays there for a revert, and goes as the cache's files do."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess

TOML = '[model.m]\nfrom = "./weights"\nquantize = "%s"\n'


@pytest.fixture
def project(tmp_path: Path) -> Iterator[InProcess]:
    project = InProcess(tmp_path)
    project.checkpoint(layers=1)
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm on another file system")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        project.cache = Path(folder) / "cache"
        yield project


def edit(project: InProcess, quantize: str) -> int:
    """Build with this type; returns the tensors that were computed."""
    project.write("ModelBuild.toml", TOML % quantize)
    project.build()
    computed = project.summary["tensors_computed"]
    assert isinstance(computed, int)
    return computed


def spares(project: InProcess) -> list[Path]:
    return sorted((project.models / ".modelbuild").rglob("sha256-*"))


def test_edits_back_and_forth_compute_each_tensor_once(project: InProcess) -> None:
    assert edit(project, "q8_0") > 0
    assert not spares(project) and not (project.models / ".modelbuild").exists()
    before = project.tree()
    assert edit(project, "q4_0") > 0
    (spare,) = spares(project)
    assert spare.name not in os.listdir(project.models / "blobs")
    for quantize in ("q8_0", "q4_0", "q8_0"):
        assert edit(project, quantize) == 0
        assert len(spares(project)) == 1
        project.check()
    spares(project)[0].unlink()
    (project.models / ".modelbuild/spare").rmdir()
    (project.models / ".modelbuild").rmdir()
    assert project.tree() == before


def test_a_layer_that_shares_tensors_with_a_spare_copies_them(project: InProcess) -> None:
    edit(project, "q4_K_M")
    edit(project, "q8_0")
    mixed = '[ftype.mine]\nbase = "q4_K_M"\ntensors = { attn_q = "q8_0" }\n'
    project.write("ModelBuild.toml", mixed + TOML % "mine")
    project.build()
    assert project.summary["tensors_computed"] == 0


def test_a_spare_that_is_damaged_is_made_again(project: InProcess) -> None:
    edit(project, "q8_0")
    whole = project.tree()
    edit(project, "q4_0")
    (spare,) = spares(project)
    spare.write_bytes(spare.read_bytes()[:-1] + b"\xff")
    edit(project, "q8_0")
    project.check()
    assert {path: data for path, data in project.tree().items() if not path.startswith(".")} == whole


def test_spares_are_counted_and_go_as_the_cache_goes(project: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(project, "q8_0")
    edit(project, "q4_0")
    size = 512 * spares(project)[0].stat().st_blocks
    use = json.loads(project.run("du", "--json"))
    assert abs(use["models_folder"]["spare_bytes"] - size) < 8192 and use["cache"]["free_bytes"] >= size - 8192
    assert "spare layers: no model of the models folder uses them" in project.run("du") + project.errors
    assert json.loads(project.run("--json", "gc", "--older-than", "1h"))["removed"] == []
    assert len(spares(project)) == 1
    removed = json.loads(project.run("--json", "gc", "--older-than", "0d"))["removed"]
    assert not spares(project) and "weights" in {each["kind"] for each in removed}
    assert edit(project, "q8_0") > 0 and edit(project, "q4_0") == 0
    monkeypatch.setenv("MODELBUILD_CACHE_LIMIT", "1")
    assert edit(project, "q5_0") > 0
    assert not spares(project)


def test_cleaning_takes_them_along_and_says_so_before(project: InProcess) -> None:
    edit(project, "q8_0")
    edit(project, "q4_0")
    (spare,) = spares(project)
    assert "would remove  1 spare layer, " in project.run("clean", "-n")
    assert json.loads(project.run("--json", "clean", "-n"))["spare"] == [str(spare)]
    assert spare.exists()
    assert "would remove  1 spare layer, " in project.run("clean", "--cache", "-n")
    assert "removed  1 spare layer, " in project.run("clean", "--cache") and not spare.exists()
    edit(project, "q8_0")
    edit(project, "q4_0")
    assert "removed  1 spare layer, " in project.run("clean")
    assert not spares(project) and not (project.models / ".modelbuild").exists()
    assert project.run("clean", "-n") == ""
