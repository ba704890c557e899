"""Tensors against the architecture and the configuration: what is missing, what has another shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelbuild import structure
from modelbuild.errors import Error
from modelbuild.steps.convert import Conversion

from . import checkpoints, recipes, zoo

UNFIT = {
    # The runtime would not load these: config.json lacks what tells the sizes of their tensors.
    ("gemma", "another model_type, no key heads"),
    ("gpt_oss", "half a rope_scaling"),
    ("gpt_oss", "too many layer_types"),
}


def faults(folder: Path, pre: str | None = None) -> list[Error]:
    conversion = Conversion({"outtype": "source", "folder": "m", "pre": pre}, recipes.Folder(folder))
    return structure.faults(conversion.entries, conversion.architecture)


@pytest.mark.parametrize("model_type", zoo.model_types())
def test_nothing_is_wrong_with_the_zoo(model_type: str, tmp_path: Path) -> None:
    for number, (name, case) in enumerate(zoo.cases(model_type).items()):
        if (model_type, name) in UNFIT or case.tokenizer not in ("sentencepiece", "byte pairs"):
            continue
        found = faults(zoo.write(tmp_path / str(number), case), case.pre)
        assert not found, (name, list(map(str, found)))


def tensors(**changes: Any) -> dict[str, Any]:
    return dict(checkpoints.tensors({**checkpoints.CONFIG, **changes}, "bf16"))


def llama(folder: Path, found: dict[str, Any], **config: Any) -> Path:
    checkpoints.write(folder, **config)
    checkpoints.save(folder / "model.safetensors", found)
    return folder


def test_a_tensor_missing_from_one_block_is_named(tmp_path: Path) -> None:
    found = tensors()
    del found["model.layers.1.mlp.up_proj.weight"]
    (error,) = faults(llama(tmp_path / "m", found))
    assert error.what == "the checkpoint lacks 1 tensor that this architecture has"
    assert dict(error.facts) == {"missing": "layers.1.mlp.up_proj.weight", "blocks": "1"}


def test_a_tensor_missing_from_every_block_is_named(tmp_path: Path) -> None:
    found = {name: tensor for name, tensor in tensors().items() if "o_proj" not in name}
    (error,) = faults(llama(tmp_path / "m", found))
    assert error.what == "the checkpoint lacks 2 tensors that this architecture has"
    assert dict(error.facts)["blocks"] == "all 2"


def test_a_bias_that_one_block_has_every_block_has(tmp_path: Path) -> None:
    found = tensors()
    found["model.layers.0.self_attn.q_proj.bias"] = ("BF16", (256,), bytes(512))
    (error,) = faults(llama(tmp_path / "m", found))
    assert dict(error.facts) == {"missing": "layers.1.self_attn.q_proj.bias", "blocks": "1"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"hidden_size": 512, "head_dim": 32}, "hidden_size"),
        ({"intermediate_size": 300}, "intermediate_size"),
        ({"num_attention_heads": 4, "head_dim": 32}, "num_attention_heads * head_dim"),
        ({"num_key_value_heads": 2}, "num_key_value_heads"),
    ],
)
def test_shapes_are_those_of_the_configuration(config: dict[str, int], said: str, tmp_path: Path) -> None:
    folder = llama(tmp_path / "m", tensors(), **config)
    (error,) = faults(folder)
    assert error.path == "config.json"
    assert "not have the shape that config.json tells of" in error.what
    assert any(said in text for _, text in error.facts)


def test_many_kinds_of_wrong_shapes_are_one_error(tmp_path: Path) -> None:
    (error,) = faults(llama(tmp_path / "m", tensors(), hidden_size=512, head_dim=32))
    assert len(error.facts) == structure.SHOWN + 1
    assert error.facts[-1][0] == "and"
