"""A checkpoint that sees, as a user has it: a model and a projector, each made by itself, and what exports make of them."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.tensors.formats import gguf
from tests import adapters, towers, zoo

from .in_process import InProcess
from .project import Project

TEXT = zoo.cases("gemma3")["names of old"]
TOWER = towers.cases("gemma3")["squares of two patches"]
SPOKEN = {name: shape for name, shape in TEXT.shapes.items() if name.startswith("language_model.")}
CONFIG = {**TEXT.config, "vision_config": TOWER.config["vision_config"]}
SEEING = replace(TEXT, config=CONFIG, shapes={**SPOKEN, **TOWER.shapes}, files=TOWER.files)
TOML = """
[model.seer]
from = "./base"
quantize = "q8_0"
system = "one"
template = "{{ .Prompt }}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    zoo.write(tmp_path / "base", SEEING)
    made = InProcess(tmp_path)
    made.write("ModelBuild.toml", TOML)
    return made


def digest(project: Project, kind: str, name: str = "seer:latest") -> str:
    return hashlib.sha256(project.blob(name, kind)).hexdigest()


def header(project: Project) -> gguf.Header:
    """Of the projector."""
    data = project.blob("seer:latest", "projector")
    return gguf.header_of(io.BytesIO(data), len(data), "projector")


def test_an_edit_of_the_system_text_touches_no_tower_and_no_weight(project: Project) -> None:
    project.build()
    assert project.blob("seer:latest", "projector")[:4] == b"GGUF"
    before = digest(project, "model"), digest(project, "projector")
    project.write("ModelBuild.toml", TOML.replace('"one"', '"two"'))
    assert sorted(project.build()) == ["seer/manifest", "seer/system"]
    assert (digest(project, "model"), digest(project, "projector")) == before
    assert project.summary["tensors_computed"] == 0


def test_show_says_which_type_a_projector_has_and_where_that_is_said(project: Project) -> None:
    project.write(
        "ModelBuild.toml", f'{TOML}[model.small]\nfrom = "seer"\nprojector = "q8_0"\n[model.same]\nfrom = "seer"\n'
    )
    said = {
        name: json.loads(project.run("show", "--json", name))["values"]["projector"]
        for name in ("seer", "small", "same")
    }
    assert said == {
        "seer": {"value": "auto", "place": "default"},
        "small": {"value": "q8_0", "place": "ModelBuild.toml:9:1"},
        "same": {"value": "auto", "place": "inherited from 'seer:latest'"},
    }
    project.build()
    for words in (("seer",), ("registry.ollama.ai/library/seer",)):
        layers = json.loads(project.run("show", "--json", *words))["layers"]
        (beside,) = [(each["type"], each["projector_types"]) for each in layers if each["kind"] == "projector"]
        assert beside == ("bf16", ["gemma3"])
    text = project.run("diff", "seer", "small", code=1)
    assert " bf16 gemma3 sha256:" in text and " q8_0 gemma3 sha256:" in text
    assert " bf16  gemma3" in project.run("show", "seer")


def test_metadata_of_the_projector_is_set_in_it_alone(project: Project) -> None:
    project.build()
    before = digest(project, "model"), header(project)
    project.write("ModelBuild.toml", f'{TOML}metadata = {{ "clip.use_gelu" = false, "clip.vision.max_pixels" = 9 }}\n')
    assert sorted(project.build()) == ["seer/describe-projector", "seer/manifest", "seer/projector"]
    found = header(project)
    assert digest(project, "model") == before[0] and project.summary["tensors_computed"] == 0
    set_ = {"clip.use_gelu": gguf.encode_value("bool", False), "clip.vision.max_pixels": gguf.encode_value("u32", 9)}
    assert dict(found.table.metadata) == {**before[1].table.metadata, **set_}
    assert [*found.table.tensors] == [*before[1].table.tensors]
    for key in ("clip.projector_type", "clip.vision.block_count"):
        project.write("ModelBuild.toml", f'{TOML}metadata = {{ "{key}" = "x" }}\n')
        assert f"'{key}' cannot be set: it must fit the tensors" in project.run("build", code=2) + project.errors


@pytest.mark.parametrize("mode", ["merge", "layer"])
def test_an_adapter_of_the_text_model_leaves_the_projector_as_it_is(mode: str, project: Project) -> None:
    project.build()
    before = digest(project, "model"), digest(project, "projector")
    adapters.write_peft(project.folder / "lora", adapters.factors(SPOKEN, r".*q_proj"))
    project.write("ModelBuild.toml", f'{TOML}adapters = [{{ path = "lora", mode = "{mode}" }}]\n')
    ran = project.build()
    assert not any("projector" in step for step, how in ran.items() if how == "ran")
    assert (digest(project, "model") == before[0]) is (mode == "layer")
    assert digest(project, "projector") == before[1]
    if mode == "layer":
        assert project.blob("seer:latest", "adapter")[:4] == b"GGUF"


def test_an_edit_of_the_images_preparation_rebuilds_the_projector_alone(project: Project) -> None:
    project.build()
    images = json.loads(SEEING.files["preprocessor_config.json"])
    (project.folder / "base/preprocessor_config.json").write_text(json.dumps({**images, "image_mean": [0.5, 0.5, 0.5]}))
    ran = [step for step, how in project.build().items() if how == "ran"]
    assert sorted(ran) == ["seer/convert-projector", "seer/manifest", "seer/projector"]
    assert project.summary["tensors_computed"] == 0


def test_a_checkpoint_without_its_tower_says_so_once(project: Project) -> None:
    zoo.write(project.folder / "base", replace(SEEING, shapes=SPOKEN))
    project.build()
    said = [event for event in project.events if "it becomes a model of text" in json.dumps(event)]
    assert len(said) == 1
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in project.manifest("seer:latest")["layers"]]
    assert kinds == ["model", "template", "system"]
    project.write("ModelBuild.toml", f"{TOML}projector = false\n")
    assert "it becomes a model of text" not in project.run("check") + project.errors


def test_a_tower_whose_file_is_missing_stops_the_build_unless_none_is_wanted(project: Project) -> None:
    zoo.write(project.folder / "base", replace(SEEING, shapes=SPOKEN))
    weights = project.folder / "base" / "model.safetensors"
    weights.rename(weights.with_name("model-00001-of-00002.safetensors"))
    project.run("check", code=1)
    assert "no weights file here contains its tower" in project.errors
    assert "1 of 2 files: model-00002-of-00002.safetensors" in project.errors
    project.write("ModelBuild.toml", f"{TOML}projector = false\n")
    project.run("check")


def test_a_tower_that_is_incomplete_stops_the_build_before_anything_is_written(project: Project) -> None:
    lacking = {name: shape for name, shape in SEEING.shapes.items() if "post_layernorm" in name or "vision" not in name}
    zoo.write(project.folder / "base", replace(SEEING, shapes=lacking))
    project.run("build", code=1)
    assert "that this kind of projector has" in project.errors
    assert project.tree() == {}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("folder", {"seer.gguf", "seer-mmproj.gguf", "Modelfile"}),
        ("hugging-face", {"seer-Q8_0.gguf", "mmproj-seer.gguf"}),
        ("lm-studio", {"local/seer/seer-Q8_0.gguf", "local/seer/mmproj-seer.gguf"}),
        ("llama-server", {"seer/seer.gguf", "seer/mmproj.gguf"}),
    ],
)
def test_exports_have_the_projector_in_a_file_of_its_own(project: Project, shape: str, expected: set[str]) -> None:
    project.build()
    project.run("export", "--as", shape, "seer", "out")
    found = {str(path.relative_to(project.folder / "out")) for path in (project.folder / "out").rglob("*")}
    assert expected <= found
    (projector,) = (path for path in (project.folder / "out").rglob("*mmproj*"))
    assert projector.read_bytes() == project.blob("seer:latest", "projector")


def test_one_file_is_of_a_model_without_its_projector(project: Project) -> None:
    project.run("build", "seer", "-o", "seer.gguf", code=2)
    assert "'seer' has a projector besides its model" in project.errors
    assert "projector = false" in project.errors
    project.write("ModelBuild.toml", TOML + "projector = false\n")
    project.run("build", "seer", "-o", "seer.gguf")
    assert (project.folder / "seer.gguf").read_bytes()[:4] == b"GGUF"
