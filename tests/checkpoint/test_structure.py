"""Tensors against the architecture and the configuration: what is missing, what has another shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import structure
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.checkpoint.tables import SHOWN
from modelbuild.errors import Error
from tests import checkpoints, recipes, zoo

UNFIT = {
    # The runtime would not load these: config.json lacks what tells the sizes of their tensors, or other things it asks for;
    ("gemma", "another model_type, no key heads"),
    ("gpt_oss", "half a rope_scaling"),
    ("gpt_oss", "too many layer_types"),
    ("granite", "linear scaling in older words"),
    ("olmo2", "scaling that transformers refuses"),
    ("qwen2", "half of a scaling"),
    ("qwen2", "too many layer_types"),
    # its heads are not as large together as hidden_size, in a model where it takes them to be;
    ("qwen2", "a head size of its own"),
    # the output is the embedding, in models where it does not know of that;
    ("gpt_oss", "mxfp4, tied, f16"),
    ("olmo2", "few keys, tied, f16"),
    # there are biases that it does not read.
    ("phi3", "biases"),
    ("qwen3", "untied, biases, f16"),
}


def faults(folder: Path, pre: str | None = None) -> list[Error]:
    conversion = Conversion(recipes.Folder(folder), outtype="source", folder="m", pre=pre)
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
    assert "not have the shape that config.json declares" in error.what
    assert any(said in text for _, text in error.facts)


def test_many_kinds_of_wrong_shapes_are_one_error(tmp_path: Path) -> None:
    (error,) = faults(llama(tmp_path / "m", tensors(), hidden_size=512, head_dim=32))
    assert len(error.facts) == SHOWN + 1
    assert error.facts[-1][0] == "and"


def case(folder: Path, model_type: str, name: str) -> list[Error]:
    found = zoo.cases(model_type)[name]
    return faults(zoo.write(folder, found), found.pre)


def test_shapes_are_those_of_the_metadata_where_config_json_says_nothing(tmp_path: Path) -> None:
    found = next(iter(zoo.cases("gemma3_text").values()))
    config = {key: value for key, value in found.config.items() if key not in ("head_dim", "model_type")}
    (error, *_) = faults(zoo.write(tmp_path / "m", replace(found, config=config)), found.pre)
    assert any("num_attention_heads * head_dim" in text for _, text in error.facts)


def test_heads_fill_the_hidden_size_where_the_runtime_takes_them_to(tmp_path: Path) -> None:
    (error,) = case(tmp_path / "m", "qwen2", "a head size of its own")
    assert any("(hidden_size, hidden_size)" in text for _, text in error.facts)


def test_an_embedding_for_an_output_is_an_error_where_the_runtime_does_not_know_of_it(tmp_path: Path) -> None:
    for number, (model_type, name) in enumerate([("gpt_oss", "mxfp4, tied, f16"), ("olmo2", "few keys, tied, f16")]):
        (error,) = case(tmp_path / str(number), model_type, name)
        assert error.what.startswith("the checkpoint lacks 'lm_head.weight', which llama.cpp's runtime needs")
    assert not faults(checkpoints.write(tmp_path / "llama", tied=True))


def test_biases_that_the_runtime_does_not_read_are_named(tmp_path: Path) -> None:
    (error,) = case(tmp_path / "m", "qwen3", "untied, biases, f16")
    assert "contains 2 biases that llama.cpp's runtime does not read in a model of qwen3" in error.what
    names = [f"model.layers.{block}.self_attn.o_proj.bias" for block in (0, 1)]
    assert dict(error.facts)["tensors"] == ", ".join(names)
