"""The care of the store: what is damaged is found and made again, what is not needed goes, and nothing is computed twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.project import Project, flip, old
from tests.faults.folder import Theirs, look
from tests.faults.scenarios import other_file_system

TOML = """
[model.chat]
from = "./weights"
quantize = "q8_0"
system = "You are here."
[model.other]
from = "./weights"
quantize = "q8_0"
system = "You are there."
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = InProcess(tmp_path / "project")
    project.write("ModelBuild.toml", TOML)
    project.checkpoint()
    project.build()
    return project


def largest(folder: Path) -> Path:
    return max((path for path in folder.iterdir()), key=lambda path: path.stat().st_size)


def rot(path: Path) -> None:
    """Change a byte as a disk does that fails: no time tells of it."""
    before = path.stat()
    flip(path, before.st_size - 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def verify(project: Project, *words: str, code: int) -> dict[str, Any]:
    value = json.loads(project.run("--json", "verify", *words, code=code))
    assert isinstance(value, dict)
    return value


def lose_database(project: Project) -> None:
    for path in project.cache.glob("state.sqlite*"):
        path.unlink()


# verify


def test_a_damaged_blob_is_found_named_with_its_models_and_made_again(project: Project) -> None:
    assert verify(project, code=0)["wrong"] == []
    expected = project.tree()
    blob = largest(project.models / "blobs")
    rot(blob)
    found = verify(project, "-n", code=1)["wrong"]
    assert [(each["why"], each["models"], each["action"]) for each in found] == [
        ("damaged", ["chat:latest", "other:latest"], None)
    ]
    assert blob.exists()
    project.run("verify", code=1)
    assert "this blob is damaged" in project.errors
    assert "'chat:latest', 'other:latest'" in project.errors
    assert not blob.exists() and not (project.models / ".modelbuild").exists()
    assert [path.name for path in (project.cache / "damaged").iterdir()] == [blob.name]
    # The same command says now what is missing; a build puts it there again.
    assert [each["why"] for each in verify(project, code=1)["wrong"]] == ["missing"]
    assert project.build() == {"weights:q8_0/model": "ran"}
    assert project.tree() == expected
    assert verify(project, code=0)["wrong"] == []


def test_a_build_says_which_damaged_blob_it_made_again(project: Project) -> None:
    expected = project.tree()
    blob = largest(project.models / "blobs")
    rot(blob)
    project.run()
    assert f"warning: blob {blob.name} was damaged or changed; it was made again" in project.errors
    assert project.tree() == expected
    project.run()
    assert "damaged" not in project.errors


def test_a_damaged_recipe_of_the_cache_is_set_aside_and_made_again(project: Project) -> None:
    recipe = next(
        path for path in (project.cache / "blobs").iterdir() if path.read_bytes().startswith(b"modelbuild recipe")
    )
    rot(recipe)
    (found,) = verify(project, code=1)["wrong"]
    assert (found["why"], found["models"], found["action"]) == ("damaged", [], "set aside")
    assert not recipe.exists()
    assert verify(project, code=0)["wrong"] == []
    project.write("ModelBuild.toml", TOML.replace('"q8_0"', '"q5_0"'))
    project.build()
    assert verify(project, code=0)["wrong"] == []


def test_what_others_put_is_reported_and_never_touched(project: Project) -> None:
    theirs = Theirs(project.models, "theirs", [b"{}", b"their weights"])
    sharing = Theirs(project.models, "sharing", [b'{"theirs": 1}', b"You are here."])
    for each in (theirs, sharing):
        each.put()
    for text in (b"their weights", b"You are here."):
        blob = next(path for path in (project.models / "blobs").iterdir() if path.read_bytes() == text)
        blob.write_bytes(text.upper())
    before = look([*theirs.paths(), *sharing.paths()])
    found = {tuple(each["models"]): each["action"] for each in verify(project, code=1)["wrong"]}
    assert found == {("theirs:latest",): "not ours", ("chat:latest", "sharing:latest"): "not ours"}
    assert look(map(Path, before)) == before
    # What is ours too is put in order by a build, which hashes what is no longer believed.
    project.build()
    assert [each["models"] for each in verify(project, code=1)["wrong"]] == [["theirs:latest"]]


def test_manifests_that_are_wrong_are_told_of(project: Project) -> None:
    library = project.models / "manifests/registry.ollama.ai/library"
    manifest = json.loads((library / "chat/latest").read_text())
    manifest["layers"][0]["size"] += 1
    (library / "chat/latest").write_text(json.dumps(manifest))
    (library / "other/latest").write_text("{")
    found = verify(project, code=1)
    assert [(each["why"], each["models"]) for each in found["wrong"]] == [("another size", ["chat:latest"])]
    assert any("'other:latest' cannot be read" in fault for fault in found["faults"])


def test_results_that_a_build_would_not_make_again_are_found(project: Project) -> None:
    found = verify(project, "--rebuild", "100", code=0)["rebuilt"]
    assert {each["step"] for each in found} >= {"chat/system", "weights/convert", "weights:q8_0/model"}
    assert all(each["same"] for each in found)
    assert len(verify(project, "--rebuild", "2", code=0)["rebuilt"]) == 2
    with sqlite3.connect(project.cache / "state.sqlite") as db:
        row = db.execute("select artifact, size from action where size = 14").fetchone()
        db.execute("update action set artifact = ?, size = ? where size = 13", row)
    db.close()
    wrong = [each for each in verify(project, "--rebuild", "100", code=1)["rebuilt"] if not each["same"]]
    assert [(each["step"], each["targets"]) for each in wrong] == [("chat/system", ["chat"])]
    assert "made other bytes of the same inputs" in project.errors
    assert not [path for path in project.cache.iterdir() if path.name.startswith(".remade")]


def test_verify_is_interrupted_at_once(project: Project) -> None:
    with open(project.cache / "blobs" / largest(project.cache / "blobs").name, "r+b") as file:
        file.truncate(40 << 30)  # a hole: minutes to hash
    done = subprocess.Popen(project.command("verify"), stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    begun = time.monotonic()
    done.send_signal(signal.SIGINT)
    assert done.wait(10) == 130
    assert time.monotonic() - begun < 2


# gc


def test_gc_keeps_what_is_needed_and_forgets_what_has_gone(project: Project) -> None:
    before = project.tree()
    project.run("gc", "--older-than", "0d", "--max-size", "0")
    assert "installed models and projects need all" in project.errors
    project.write("ModelBuild.toml", TOML.replace('"q8_0"', '"q5_0"'))
    project.build()
    dry = json.loads(project.run("--json", "gc", "--older-than", "0d", "-n"))
    assert {each["kind"] for each in dry["removed"]} >= {"weights", "recipe"}
    found = json.loads(project.run("--json", "gc", "--older-than", "0d"))
    assert found["removed"] == dry["removed"]
    assert found["bytes"] == sum(each["bytes"] for each in found["removed"]) > 100_000
    assert project.build() == {}
    with sqlite3.connect(project.cache / "state.sqlite") as db:
        assert db.execute("select count(distinct blob), count(*) from tensor").fetchone() == (1, 21)
    db.close()
    assert len(list((project.cache / "notes").iterdir())) == 1
    # What went is made again, the same.
    project.write("ModelBuild.toml", TOML)
    project.build()
    assert project.tree() == before


def test_gc_spares_by_default_what_was_of_use_lately_and_forgets_models_that_are_not_declared(project: Project) -> None:
    project.write("ModelBuild.toml", TOML.replace('"q8_0"', '"q5_0"'))
    project.build()
    assert json.loads(project.run("--json", "gc"))["removed"] == []
    project.write("ModelBuild.toml", TOML[: TOML.index("[model.other]")])
    project.run("clean", "--stale")
    removed = json.loads(project.run("--json", "gc", "--older-than", "0s"))["removed"]
    assert "manifest" in {each["kind"] for each in removed}
    project.check()


def test_gc_without_a_cache_makes_none(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    assert json.loads(project.run("--json", "gc"))["bytes"] == 0
    assert "there is no cache" in project.errors
    assert not project.cache.exists()


def test_ages_and_sizes_are_read_as_they_are_written(project: Project) -> None:
    project.run("gc", "--older-than", "soon", code=2)
    assert "expected a time such as 30d, 12h or 90m, got 'soon'" in project.errors
    project.run("gc", "--max-size", "many", code=2)
    assert "expected a size" in project.errors


# du


def test_links_are_counted_once(project: Project) -> None:
    found = json.loads(project.run("--json", "du"))
    inodes = {
        (info.st_dev, info.st_ino): info.st_size
        for folder in (project.models, project.cache)
        for path in folder.rglob("*")
        if path.is_file() and (info := path.stat())
    }
    # The database may have grown since.
    assert abs(found["bytes"] - sum(inodes.values())) < 100_000
    models = {each["name"]: each for each in found["models"]}
    assert all(each["bytes"] == each["own_bytes"] + each["shared_bytes"] for each in models.values())
    weights = largest(project.models / "blobs").stat().st_size
    assert models["chat:latest"]["shared_bytes"] >= weights > models["chat:latest"]["own_bytes"]
    kinds = {each["kind"]: each for each in found["cache"]["kinds"]}
    assert kinds["weights"]["bytes"] == kinds["weights"]["linked_bytes"] == weights
    assert [each["name"] for each in json.loads(project.run("--json", "du", "oth*"))["models"]] == ["other:latest"]


def test_du_without_a_cache_makes_none(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    found = json.loads(project.run("--json", "du"))
    assert (found["models"], found["bytes"] < 500_000, found["cache"]["path"]) == ([], True, str(project.cache))
    assert not project.cache.exists()


# Nothing is computed twice


def test_a_lost_database_computes_no_tensor(project: Project) -> None:
    lose_database(project)
    assert "weights:q8_0/model" not in project.build()
    assert project.summary["tensors_computed"] == 0
    # Another file of the same tensors: they are copied.
    lose_database(project)
    text = TOML.replace('system = "You are here."', 'metadata = { "general.author" = "me" }')
    project.write("ModelBuild.toml", text)
    project.build()
    assert (project.summary["tensors_computed"], project.summary["tensors_reused"]) == (0, 21)


def test_a_lost_database_finds_tensors_on_another_disk(project: Project, tmp_path: Path) -> None:
    elsewhere = other_file_system(tmp_path)
    if elsewhere is None:
        pytest.skip("no second file system")
    with tempfile.TemporaryDirectory(dir=elsewhere) as folder:
        project.models, project.cache = Path(folder, "models"), project.folder / "other cache"
        project.build()
        expected = project.tree()
        assert not any(path.stat().st_size > 100_000 for path in (project.cache / "blobs").iterdir())
        lose_database(project)
        project.build()
        assert project.summary["tensors_computed"] == project.summary["tensors_reused"] == 0
        lose_database(project)
        # A project with another models folder finds the tensors where the first one put them.
        project.models = project.folder / "third"
        project.build()
        assert project.summary["tensors_computed"] == 0
        assert project.tree() == expected


def test_a_damaged_blob_of_a_lost_database_is_not_believed(project: Project) -> None:
    expected = project.tree()
    lose_database(project)
    blob = largest(project.models / "blobs")
    rot(blob)
    project.build()
    assert project.tree() == expected
    assert project.summary["tensors_computed"] == 21


def test_reverts_branches_and_a_second_project_compute_no_tensor(project: Project, tmp_path: Path) -> None:
    project.write("ModelBuild.toml", TOML.replace('"q8_0"', '"q5_0"'))
    project.build()
    assert project.summary["tensors_computed"] > 0
    for quant in ("q8_0", "q5_0") * 2:
        project.write("ModelBuild.toml", TOML.replace('"q8_0"', f'"{quant}"'))
        project.build()
        assert project.summary["tensors_computed"] == 0
    second = InProcess(tmp_path / "second")
    second.cache = project.cache
    shutil.copytree(project.folder / "weights", second.folder / "weights")
    for path in (second.folder / "weights").iterdir():
        old(path)
    second.write("ModelBuild.toml", TOML.replace("chat", "talk").replace("here", "there"))
    second.build()
    assert second.summary["tensors_computed"] == 0
    second.check()
