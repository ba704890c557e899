"""`modelbuild explain` for the whole table of edits: the field and the file, before the build and after it. One golden of all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.project import flip, old, tensor_offset
from tests.e2e.test_commands import GOLDEN

TOML = """
[project]
name = "edits"

[vars]
ctx = 2048

[defaults]
license = "MIT"

[ftype.mine]
base = "q4_K_M"
tensors = { ffn_down = "q6_k" }

[model.base]
from = "./weights"
parameters = { num_ctx = "${ctx}" }
metadata = { "general.name" = "Base" }
[model.base.matrix]
quantize = ["q8_0", "mine"]
[model.base.default]
quantize = "mine"

[model.pirate]
modelfile = "pirate.Modelfile"

[model.plain]
from = "base"
"""
PIRATE = """FROM base
SYSTEM You are a pirate.
TEMPLATE {{ .Prompt }}
PARAMETER temperature 0.5
MESSAGE user hello
"""
MODELFILE = "pirate.Modelfile"

Edit = Callable[[InProcess], object]


def edit(before: str, after: str, name: str = "ModelBuild.toml") -> Edit:
    def make(project: InProcess) -> None:
        path = project.folder / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
        old(path)

    return make


def change_a_weight(project: InProcess) -> None:
    weights = project.folder / "weights/model.safetensors"
    flip(weights, tensor_offset(weights, "model.layers.1.mlp.up_proj.weight") + 101)


def touch(project: InProcess) -> None:
    for path in project.folder.rglob("*"):
        if path.is_file() and not {"cache", "models"} & set(path.parts):
            os.utime(path)


def remove_a_name(project: InProcess) -> None:
    next((project.models / "manifests").rglob("pirate/latest")).unlink()


def revert(project: InProcess) -> None:
    change = edit("a pirate", "a cat", MODELFILE)
    change(project)
    project.run()
    edit("a cat", "a pirate", MODELFILE)(project)


EDITS: dict[str, Edit] = {
    "system": edit("a pirate", "a cat", MODELFILE),
    "system removed": edit("SYSTEM You are a pirate.\n", "", MODELFILE),
    "system added": edit('[model.plain]\nfrom = "base"', '[model.plain]\nfrom = "base"\nsystem = "Be brief."'),
    "template": edit("{{ .Prompt }}", "{{ .System }} {{ .Prompt }}", MODELFILE),
    "parameter": edit("0.5", "0.6", MODELFILE),
    "parameter added": edit("MESSAGE", "PARAMETER top_k 3\nMESSAGE", MODELFILE),
    "parameter removed": edit("PARAMETER temperature 0.5\n", "", MODELFILE),
    "message": edit("hello", "hi", MODELFILE),
    "renderer added": edit("MESSAGE", "RENDERER qwen3-coder\nMESSAGE", MODELFILE),
    "license of the defaults": edit('"MIT"', '"BSD"'),
    "variable": edit("ctx = 2048", "ctx = 4096"),
    "metadata": edit('"Base"', '"Other"'),
    "rule of a mix": edit('"q6_k"', '"q8_0"'),
    "base of a mix": edit('base = "q4_K_M"', 'base = "q5_K_M"'),
    "type": edit('quantize = ["q8_0", "mine"]', 'quantize = ["q6_K", "mine"]'),
    "row added": edit('["q8_0", "mine"]', '["q8_0", "mine", "q6_K"]'),
    "row removed": edit('["q8_0", "mine"]', '["mine"]'),
    "default row": edit('[model.base.default]\nquantize = "mine"', '[model.base.default]\nquantize = "q8_0"'),
    "from": edit("FROM base", "FROM base:q8_0", MODELFILE),
    "variant added": edit("[model.pirate]", '[model.new]\nfrom = "base"\nsystem = "new"\n[model.pirate]'),
    "quantize added": edit('[model.plain]\nfrom = "base"', '[model.plain]\nfrom = "base"\nquantize = "q5_0"'),
    "folder of the weights": edit('from = "./weights"', 'from = "./others"'),
    "outtype": edit('from = "./weights"', 'from = "./weights"\nouttype = "f32"'),
    "weights": change_a_weight,
    "readme": lambda project: project.write("weights/README.md", "---\nlicense: mit\n---\n"),
    "config of the weights": edit("10000.0", "20000.0", "weights/config.json"),
    "name": edit("[model.pirate]", '[model.pirate]\nname = "corsair"'),
    "name removed from the models folder": remove_a_name,
    "touched": touch,
    "reverted": revert,
    "two edits": lambda project: [EDITS["system"](project), EDITS["variable"](project)],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = InProcess(tmp_path_factory.mktemp("explain"))
    project.write("ModelBuild.toml", TOML)
    project.write(MODELFILE, PIRATE)
    project.checkpoint()
    project.checkpoint("others", vocabulary=310)
    project.run()
    return project.folder


@pytest.fixture
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    folder = tmp_path / "project"
    shutil.copytree(built, folder, symlinks=True)
    monkeypatch.chdir(folder)
    project = InProcess(folder)
    project.run()
    return project


def said(project: InProcess, *words: str) -> str:
    out = project.run(*words, "explain", code=None)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>", out + project.errors)


# A third, another than that of test_affected.py; the others with the peers.
@pytest.mark.parametrize(
    "name",
    [
        name if number % 3 == 1 else pytest.param(name, marks=pytest.mark.peer)
        for number, name in enumerate(sorted(EDITS))
    ],
)
def test_an_edit_is_explained_before_and_after_its_build(project: InProcess, name: str) -> None:
    EDITS[name](project)
    before = said(project)
    project.run()
    text = f"{before}--- after the build\n{said(project)}"
    assert not re.search(r"(sha256|xxh3):[0-9a-f]", text), "a digest explains nothing"
    path = GOLDEN / "explain" / f"{name.replace(' ', '_')}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_steps_are_told_with_verbose_and_in_json(project: InProcess) -> None:
    EDITS["system"](project)
    assert said(project, "-v").splitlines()[:2] == [
        "pirate/system would run because",
        "  system changed: pirate.Modelfile:2:1 (You are a pirate. -> You are a cat.)",
    ]
    (step, *_) = [json.loads(line) for line in project.run("--json", "explain").splitlines()]
    assert step["because"] == [{"field": "parameter 'text'", "before": "You are a pirate.", "after": "You are a cat."}]
    assert step["causes"] == [
        {
            "what": "system",
            "verb": "changed",
            "place": "pirate.Modelfile:2:1",
            "before": "You are a pirate.",
            "after": "You are a cat.",
        }
    ]
    project.run()
    events = [json.loads(line) for line in project.run("--json", "explain").splitlines()]
    changed = {event["step"]: event for event in events if event["event"] == "changed"}
    assert sorted(changed, reverse=True) == ["pirate/system", "pirate/manifest"]
    assert changed["pirate/system"]["causes"] == step["causes"]


def test_another_build_of_nothing_keeps_the_explanation(project: InProcess) -> None:
    EDITS["parameter"](project)
    project.run()
    before = said(project)
    began = project.run("log").splitlines()[1][:19]
    assert f"was built on {began}" in project.run("explain")
    project.run("--force")
    assert said(project) == before


def test_a_model_whose_steps_are_all_cached_is_explained_too(project: InProcess) -> None:
    toml = (project.folder / "ModelBuild.toml").read_text()
    modelfile = (project.folder / MODELFILE).read_text()
    EDITS["system"](project)
    project.run()
    project.write(MODELFILE, modelfile)
    project.write("ModelBuild.toml", toml)
    project.run("--explain")
    told = "system changed: pirate.Modelfile:2:1 (You are a cat. -> You are a pirate.)"
    assert f"pirate:latest is built because\n  {told}\n" in project.errors
    assert "0 steps run" in project.errors
