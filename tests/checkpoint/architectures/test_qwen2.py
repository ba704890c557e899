"""Qwen2: what transformers fills in, and which configurations it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete, find
from modelbuild.checkpoint.architectures.qwen2 import Qwen2
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.operations.leaf import leaf
from tests.zoo.qwen2 import CONFIG


def qwen2(**changes: Any) -> Qwen2:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
    return Qwen2(Checkpoint({"config.json": json.dumps(config).encode()}.get))


def parameters(**changes: Any) -> dict[str, Any]:
    return {key: decode_value(value) for key, value in qwen2(**changes).parameters(1).items()}


def test_defaults_are_transformers() -> None:
    assert find("Qwen2ForCausalLM") is Qwen2
    bare = complete({"model_type": "qwen2"})
    assert (bare["num_key_value_heads"], bare["max_position_embeddings"], bare["rms_norm_eps"]) == (32, 32768, 1e-6)
    assert "head_dim" not in bare
    assert complete({"model_type": "qwen2", "num_attention_heads": 4})["num_key_value_heads"] == 32
    assert (
        complete({"model_type": "qwen2", "num_attention_heads": 4, "num_key_value_heads": None})["num_key_value_heads"]
        == 4
    )


@pytest.mark.parametrize(
    "refused",
    [
        {"layer_types": ["full_attention"]},
        {"layer_types": ["full_attention", "no_attention"]},
        {"layer_types": "full_attention"},
        {"rope_scaling": {"rope_type": "yarn"}},
        {"rope_scaling": {"factor": 2.0}},
        {"rope_scaling": {}},
        {"rope_scaling": "linear"},
    ],
)
def test_nothing_is_filled_in_where_transformers_refuses(refused: dict[str, Any]) -> None:
    bare = {"model_type": "qwen2", "num_hidden_layers": 2}
    assert complete({**bare, **refused}) == {**bare, **refused}


def test_biases_keep_their_order() -> None:
    name = "model.layers.0.self_attn.q_proj.bias"
    ((made, x),) = qwen2().tensors({name: leaf("xxh3:0", "f32", (64,))})
    assert (made, x.operation) == ("blk.0.attn_q.bias", "leaf")


def test_yarn_without_its_first_context_is_an_error() -> None:
    with pytest.raises(
        Error, match="'original_max_position_embeddings' expects a whole number of at least 1, which is missing"
    ):
        parameters(rope_scaling={"rope_type": "yarn", "factor": 2.0})


MODULES = b'[{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]'


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({"modules.json": b"{"}, "modules.json", "expected a list of modules"),
        ({"modules.json": b"3"}, "modules.json", "expected a list of modules"),
        ({"modules.json": b'[{"type": "Pooling"}]'}, "modules.json", "expected a list of modules"),
        ({"modules.json": b"[" * 100_000}, "modules.json", "expected a list of modules"),
        ({"modules.json": MODULES}, "modules.json", "names '1_Pooling/config.json', which is not there"),
        ({"modules.json": MODULES, "1_Pooling/config.json": b"{}"}, "1_Pooling/config.json", "llama.cpp does not know"),
        ({"modules.json": MODULES, "1_Pooling/config.json": b'{"pooling_mode": ["cls"]}'}, "1_Pooling/config.json", "does not know"),
    ],
)  # fmt: skip
def test_pooling_that_cannot_be_told_is_an_error(files: dict[str, bytes], path: str, message: str) -> None:
    checkpoint = Checkpoint({"config.json": json.dumps(CONFIG).encode(), **files}.get)
    with pytest.raises(Error, match=message) as caught:
        Qwen2(checkpoint).parameters(1)
    assert caught.value.path == path


def test_a_model_of_embeddings_tells_its_pooling() -> None:
    files = {
        "modules.json": MODULES,
        "1_Pooling/config.json": b'{"pooling_mode_cls_token": true, "pooling_mode": "mean"}',
    }
    found = Qwen2(Checkpoint({"config.json": json.dumps(CONFIG).encode(), **files}.get)).parameters(1)
    assert list(found)[-1] == "qwen2.pooling_type"
    assert decode_value(found["qwen2.pooling_type"]) == 2


@pytest.mark.parametrize(
    ("name", "files", "told"),
    [
        ("Qwen2Model", {}, True),
        ("Qwen3Model", {}, True),
        ("Qwen3Model", {"README.md": b"# Qwen3-Reranker-0.6B\n"}, False),
        ("Qwen2Model", {"modules.json": MODULES, "1_Pooling/config.json": b'{"pooling_mode": "mean"}'}, False),
        ("Qwen2ForCausalLM", {}, False),
        ("Qwen3ForCausalLM", {}, False),
    ],
)
def test_a_model_without_a_head_for_text_needs_pooling(name: str, files: dict[str, bytes], told: bool) -> None:
    config = json.dumps({**CONFIG, "architectures": [name]}).encode()
    doubts = [*find(name)(Checkpoint({"config.json": config, **files}.get)).doubts()]
    assert [doubt.path for doubt in doubts] == ["modules.json"] * told
