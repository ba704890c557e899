"""What runs after an edit: exactly the steps and tensors that the edit touches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.project import Project, flip, tensor_offset

TOML = """
[project]
name = "edits"

[model.chat]
modelfile = "Modelfile"
[model.chat.matrix]
quantize = ["q8_0", "q4_K_M"]
[model.chat.default]
quantize = "q4_K_M"
"""
MODELFILE = """FROM ./weights
SYSTEM You are a test.
TEMPLATE {{ .Prompt }}
PARAMETER temperature 0.5
"""
TENSORS = 21


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("built"))
    project.write("ModelBuild.toml", TOML)
    project.write("Modelfile", MODELFILE)
    project.checkpoint()
    project.build()
    return project.folder


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Project:
    """A copy of a project that has been built; times and all, but for the inodes."""
    import shutil

    folder = tmp_path / "project"
    shutil.copytree(built, folder, symlinks=True)
    project = Project(folder)
    assert project.build() == {}
    return project


def test_first_build_makes_everything_once(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("ModelBuild.toml", TOML)
    project.write("Modelfile", MODELFILE)
    project.checkpoint()
    assert project.ran() == [
        "chat/convert", "chat/params", "chat/system", "chat/template",
        "chat:q4_K_M/config", "chat:q4_K_M/manifest", "chat:q4_K_M/model", "chat:q4_K_M/quantize",
        "chat:q8_0/config", "chat:q8_0/manifest", "chat:q8_0/model", "chat:q8_0/quantize",
    ]  # fmt: skip
    norms = 5
    assert project.summary["tensors_computed"] == 2 * TENSORS - norms
    assert project.summary["tensors_reused"] == norms
    project.check()


def test_second_build_runs_nothing_and_opens_no_weight_file(project: Project) -> None:
    script = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from modelbuild.cli.main import main
code = main(sys.argv[1:])
heavy = {"numpy", "gguf", "pydantic", "rich", "safetensors", "urllib3"} & set(sys.modules)
print(code, [path for path in opened if "weights" in path], heavy)
"""
    command = project.command("--json")
    output = subprocess.run(
        [sys.executable, "-c", script, *command[3:]], capture_output=True, text=True, check=True
    ).stdout
    assert output.splitlines()[-1] == "0 [] set()"
    assert '"ran": 0' in output.splitlines()[-2]
    assert '"bytes_written": 0' in output.splitlines()[-2]


def edit(project: Project, old: str, new: str, name: str = "Modelfile") -> None:
    path = project.folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "layer"),
    [
        ("You are a test.", "You are another.", "system"),
        ("0.5", "0.6", "params"),
        ("{{ .Prompt }}", "{{ .System }} {{ .Prompt }}", "template"),
    ],
)
def test_edited_text_makes_its_layer_and_the_manifests(project: Project, old: str, new: str, layer: str) -> None:
    edit(project, old, new)
    assert project.ran() == [f"chat/{layer}", "chat:q4_K_M/manifest", "chat:q8_0/manifest"]
    assert project.summary["tensors_computed"] == 0
    assert new.split()[-1].encode() in project.blob("chat:latest", layer)


def test_one_more_quant_converts_nothing_again(project: Project) -> None:
    edit(project, '"q8_0", "q4_K_M"', '"q8_0", "q4_K_M", "q6_K"', "ModelBuild.toml")
    assert project.ran() == ["chat:q6_K/config", "chat:q6_K/manifest", "chat:q6_K/model", "chat:q6_K/quantize"]
    assert project.summary["tensors_reused"] > 5


def test_one_more_variant_of_the_same_weights_makes_text_alone(project: Project) -> None:
    project.write("more/Modelfile", "FROM chat\nSYSTEM You are more.\n")
    edit(project, 'name = "edits"', 'name = "edits"\nmodelfiles = ["more/Modelfile"]', "ModelBuild.toml")
    assert project.ran() == ["more/manifest", "more/system"]


def test_variant_declared_another_way_shares_the_tensors(project: Project) -> None:
    text = '[model.other]\nfrom = "./weights"\nquantize = "q4_K_S"\n'
    project.write("ModelBuild.toml", TOML + text)
    assert project.ran() == ["other/config", "other/manifest", "other/model", "other/quantize"]
    assert project.summary["tensors_reused"] > TENSORS / 2


def test_removed_variant_is_reported_and_cleaned(project: Project) -> None:
    edit(project, '["q8_0", "q4_K_M"]', '["q4_K_M"]', "ModelBuild.toml")
    assert project.ran() == []
    assert (project.models / "manifests/registry.ollama.ai/library/chat/q8_0").exists()
    project.run()
    assert "chat:q8_0" in project.errors
    project.run("clean", "--stale")
    assert not (project.models / "manifests/registry.ollama.ai/library/chat/q8_0").exists()
    project.check()
    assert sum(path.stat().st_size > 100_000 for path in (project.models / "blobs").iterdir()) == 1


def test_touched_file_runs_nothing(project: Project) -> None:
    for path in project.folder.rglob("*"):
        if path.is_file() and "cache" not in path.parts and "models" not in path.parts:
            os.utime(path)
    assert project.ran() == []


def test_reverted_file_runs_nothing(project: Project) -> None:
    edit(project, "0.5", "0.6")
    project.build()
    edit(project, "0.6", "0.5")
    assert project.ran() == []
    assert b"0.5" in project.blob("chat:latest", "params")


def test_moved_weights_folder_runs_nothing_but_the_conversion(project: Project) -> None:
    weights = project.folder / "weights"
    weights.rename(project.folder / "elsewhere")
    project.folder.joinpath("sub").mkdir()
    (project.folder / "elsewhere").rename(project.folder / "sub/weights")
    edit(project, "./weights", "./sub/weights")
    assert project.ran() == []


def test_changed_weight_computes_one_tensor(project: Project) -> None:
    weights = project.folder / "weights/model.safetensors"
    flip(weights, tensor_offset(weights, "model.layers.1.mlp.up_proj.weight") + 101)
    assert "chat/convert" in project.ran()
    assert project.summary["tensors_computed"] == 2
    assert project.summary["tensors_reused"] == 2 * TENSORS - 2
    project.check()


def test_same_size_rewrite_within_a_tick_is_seen(project: Project) -> None:
    modelfile = project.folder / "Modelfile"
    for digit in "6789":
        modelfile.write_text(MODELFILE.replace("0.5", f"0.{digit}"))
        project.build()
        assert f"0.{digit}".encode() in project.blob("chat:latest", "params")


def test_one_tensor_of_many_shards(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("Modelfile", "FROM ./weights\n")
    project.checkpoint(layers=6)
    project.build()
    weights = project.folder / "weights/model.safetensors"
    flip(weights, tensor_offset(weights, "model.layers.3.mlp.down_proj.weight"))
    project.build()
    assert project.summary["tensors_computed"] == 1


def test_new_readme_beside_the_weights_is_a_change(project: Project) -> None:
    project.write("weights/README.md", "---\nlicense: mit\n---\n")
    assert "chat/convert" in project.ran()
    assert project.summary["tensors_computed"] == 0


def test_shard_rewritten_during_the_build_stops_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("ModelBuild.toml", '[model.a]\nfrom = "./weights"\n[model.b]\nfrom = "a"\nquantize = "q4_K_M"\n')
    weights = project.checkpoint() / "model.safetensors"
    project.build("a")
    stat = weights.stat()
    flip(weights, tensor_offset(weights, "model.layers.1.mlp.up_proj.weight") + 7, 2)
    # A change that the stat cache cannot see is found when the bytes are read.
    remember_as_unchanged(project, weights, stat)
    project.run("b", code=1)
    assert "source changed during the build" in project.errors
    assert str(weights) in project.errors or "weights/model.safetensors" in project.errors
    assert not (project.models / "manifests/registry.ollama.ai/library/b").exists()
    project.build()
    project.check()
    clean = project.folder / "clean"
    project.build(models=clean, cache=project.folder / "clean-cache")
    assert project.tree(clean) == project.tree()


@pytest.mark.parametrize("longer", (False, True))
def test_imported_file_rewritten_during_the_build_stops_it(tmp_path: Path, longer: bool) -> None:
    project = Project(tmp_path)
    project.write("ModelBuild.toml", '[model.made]\nfrom = "./weights"\n')
    project.checkpoint()
    project.build()
    gguf = tmp_path / "in.gguf"
    gguf.write_bytes(project.blob("made:latest", "model"))
    project.write("ModelBuild.toml", '[model.one]\nfrom = "./in.gguf"\n[model.two]\nfrom = "one"\nquantize = "q8_0"\n')
    project.build("two")  # takes the digest, and copies nothing
    stat = gguf.stat()
    data = gguf.read_bytes()
    if longer:
        gguf.write_bytes(data + bytes(32))
    else:
        flip(gguf, len(data) // 2)
    remember_as_unchanged(project, gguf, stat)
    project.run("one", code=1)
    assert "source changed during the build" in project.errors
    assert not (project.models / "manifests/registry.ollama.ai/library/one").exists()
    gguf.write_bytes(data)
    project.build()
    project.check()
    assert project.blob("one:latest", "model") == data


def remember_as_unchanged(project: Project, path: Path, before: os.stat_result) -> None:
    """Make the stat cache take a file that was rewritten for the one it knew."""
    import sqlite3

    from modelbuild.files import signature

    time.sleep(0.05)
    with sqlite3.connect(project.cache / "state.sqlite") as db:
        changed = db.execute("update file set stat = ? where stat = ?", (signature(path.stat()), signature(before)))
        assert changed.rowcount == 1


def test_byte_flipped_in_an_indexed_blob_reaches_no_result(project: Project) -> None:
    for path in (project.models / "blobs").iterdir():
        if path.stat().st_size > 100_000:
            flip(path, path.stat().st_size // 2)
    edit(project, '"q8_0", "q4_K_M"', '"q8_0", "q4_K_M", "q4_K_S"', "ModelBuild.toml")
    project.build()
    blob = project.blob("chat:q4_K_S", "model")
    clean = project.folder / "clean"
    project.build(models=clean, cache=project.folder / "clean-cache")
    good = {path.read_bytes() for path in (clean / "blobs").iterdir()}
    assert blob in good


def test_names_given_on_the_command_line_are_not_stale(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("Modelfile", "FROM ./weights\n")
    project.checkpoint()
    project.run("-t", "one", "-q", "q8_0")
    project.run("-t", "two", "-q", "q4_K_M")
    assert "no longer declared" not in project.errors
    project.run("clean", "--stale")
    assert {path.parent.name for path in (project.models / "manifests").rglob("latest")} == {"one", "two"}
    project.run("-t", "one", "clean")
    assert {path.parent.name for path in (project.models / "manifests").rglob("latest")} == {"two"}
    project.check()


def two_projects(tmp_path: Path, first: str = "one", second: str = "two") -> tuple[Project, Project]:
    """Two projects that write the name `chat` into one models folder, from the same weights."""
    made = []
    for name in (first, second):
        project = Project(tmp_path / name)
        project.models, project.cache = tmp_path / "models", tmp_path / "cache"
        project.write("ModelBuild.toml", f'[model.chat]\nfrom = "../weights"\nsystem = "{name}"\n')
        made.append(project)
    made[0].checkpoint("../weights")
    return made[0], made[1]


def test_a_modelbuild_toml_takes_over_the_modelfile_beside_it(tmp_path: Path) -> None:
    project = Project(tmp_path / "chat")
    project.checkpoint("../weights")
    project.write("Modelfile", "FROM ../weights\n")
    project.run()
    project.write("ModelBuild.toml", '[model.chat]\nmodelfile = "Modelfile"\nquantize = "q8_0"\n')
    project.run()
    assert "warning" not in project.errors
    project.run("-f", "Modelfile")
    assert "'chat:latest' is also written by another project" in project.errors


def test_two_projects_of_one_name_are_told_of_each_other(tmp_path: Path) -> None:
    one, two = two_projects(tmp_path)
    one.run()
    assert "warning" not in one.errors
    two.run()
    assert "warning: 'chat:latest' is also written by another project" in two.errors
    assert str(tmp_path / "one/ModelBuild.toml") in two.errors
    assert two.errors.count("warning") == 1
    two.run()
    assert "warning" not in two.errors
    one.build()
    taken = [event for event in one.events if event["event"] == "taken"]
    assert [event["names"] for event in taken] == [{"chat:latest": str(tmp_path / "two/ModelBuild.toml")}]


def test_two_projects_that_write_the_same_are_not_told(tmp_path: Path) -> None:
    one, two = two_projects(tmp_path)
    one.run()
    (tmp_path / "two/ModelBuild.toml").write_bytes((tmp_path / "one/ModelBuild.toml").read_bytes())
    two.run()
    assert "warning" not in two.errors


def test_name_that_somebody_else_wrote_since_is_no_other_projects(tmp_path: Path) -> None:
    one, two = two_projects(tmp_path)
    one.run()
    next((tmp_path / "models/manifests").rglob("latest")).write_text("{}")
    two.run()
    assert "warning" not in two.errors


def test_project_that_has_moved_is_not_another(tmp_path: Path) -> None:
    one, two = two_projects(tmp_path)
    one.run()
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    two.run()
    assert "warning" not in two.errors


def test_names_of_one_modelfile_are_no_other_projects(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("Modelfile", "FROM ./weights\n")
    project.checkpoint()
    project.run("-t", "chat", "-q", "q8_0")
    project.run("-f", "Modelfile", "--set", f"{tmp_path.name}.name=chat", "-q", "q4_0")
    assert "built      chat:latest" in project.errors
    assert "warning" not in project.errors


UNNEEDED = {
    "modelbuild.checkpoint.adapters",
    "modelbuild.checkpoint.card",
    "modelbuild.cli.foreign",
    "modelbuild.cli.usage",
    "modelbuild.direct",
    "modelbuild.plan.adapters",
    "modelbuild.steps.adapt",
    "modelbuild.steps.describe",
    "modelbuild.steps.merge",
    "modelbuild.tensors.evaluate",
    "modelbuild.tensors.formats.gguf",
    "modelbuild.tensors.materialize",
    "numpy",
    "pydantic",
    "rich",
    "tokenizers",
    "tomllib",
    "yaml",
}
"""What an edit of a text has no work for, if the model has neither adapters nor metadata of its own."""


def test_edited_text_loads_only_what_it_needs(project: Project) -> None:
    edit(project, "You are a test.", "You are another.")
    script = "import sys; from modelbuild.cli.main import main; code = main(sys.argv[1:]); print(code, *sys.modules)"
    words = [sys.executable, "-c", script, *project.command()[3:]]
    code, *loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split(" ")
    assert code == "0"
    assert sorted(UNNEEDED & set(loaded)) == []
    assert "modelbuild.plan.replanned" in loaded, "the edit was not planned anew"
    assert "modelbuild.plan.plan" not in loaded, "all was planned anew"
