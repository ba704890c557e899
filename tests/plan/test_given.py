"""Parts of a checkpoint by the class that it is read as."""

from __future__ import annotations

import json
from pathlib import Path

from modelbuild.observed import Observed
from modelbuild.plan import given

from .test_plan import graph
from .test_sides import SEEING, TOWER, kinds, seeing

VISUAL = "visual.blocks.0.norm1.weight"
QWEN = "Qwen2_5_VLForConditionalGeneration"


def read_as(class_name: str) -> str:
    return f'[model.a]\nfrom = "./seeing"\narchitecture = "{class_name}"\n'


def test_a_class_that_the_project_names_gives_the_parts_of_that_class(tmp_path: Path) -> None:
    made = graph(tmp_path, read_as(QWEN), seeing(VISUAL, name="MyTunedVL"))
    assert kinds(made) == ["model", "projector"]
    parameters = json.loads(made.steps["a/convert-projector"].parameters)
    assert parameters["architecture"] == QWEN


def test_a_class_of_text_takes_the_projector_away(tmp_path: Path) -> None:
    assert kinds(graph(tmp_path, read_as("Gemma3ForCausalLM"), seeing(TOWER))) == ["model"]


def test_the_draft_is_read_as_the_class_that_the_project_names(tmp_path: Path) -> None:
    text = read_as("Qwen3_5ForCausalLM") + 'mtp = "split"\n'
    made = graph(tmp_path, text, seeing("mtp.fc.weight", name="MyTuned"))
    assert kinds(made) == ["model", "draft"]
    assert json.loads(made.steps["a/convert-draft"].parameters)["architecture"] == "Qwen3_5ForCausalLM"
    assert json.loads(made.steps["a/convert"].parameters)["mtp"] == "drop"


def test_the_type_of_a_projector_leaves_its_class(tmp_path: Path) -> None:
    made = graph(tmp_path, read_as(QWEN) + 'projector = "f32"\n', seeing(VISUAL, name="MyTunedVL"))
    parameters = json.loads(made.steps["a/convert-projector"].parameters)
    assert (parameters["architecture"], parameters["outtype"]) == (QWEN, "f32")


def test_no_index_and_no_weights_give_no_parts(tmp_path: Path) -> None:
    assert given.parts(Observed(), str(tmp_path), {"architectures": [QWEN]}, []) == {}


def test_the_parts_of_all_files_of_a_checkpoint_are_told_at_once(tmp_path: Path) -> None:
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, tensor in zip(names, ("model.norm.weight", TOWER), strict=True):
        header = json.dumps({tensor: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        (tmp_path / name).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert given.for_lock(str(tmp_path)) == {}
    (tmp_path / "config.json").write_bytes(SEEING["seeing/config.json"].encode())
    assert given.for_lock(str(tmp_path)) == dict.fromkeys(names, {"parts": "projector"})
