"""Mistral: what transformers fills in, and what it leaves open."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete, find
from modelbuild.checkpoint.architectures.mistral import Mistral
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.operations.leaf import leaf
from tests.zoo.mistral import CONFIG


def mistral(**changes: Any) -> Mistral:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
    return Mistral(Checkpoint({"config.json": json.dumps(config).encode()}.get))


def parameters(**changes: Any) -> dict[str, Any]:
    return {key: decode_value(value) for key, value in mistral(**changes).parameters(1).items()}


def test_a_mistral_is_a_llama_to_the_runtime() -> None:
    assert find("MistralForCausalLM") is Mistral
    found = parameters()
    assert found["llama.rope.dimension_count"] == 16
    assert not [key for key in found if "sliding_window" in key or not key.startswith(("llama.", "general."))]


def test_defaults_are_transformers() -> None:
    bare = complete({"model_type": "mistral"})
    assert (bare["num_key_value_heads"], bare["max_position_embeddings"], bare["rms_norm_eps"]) == (8, 131072, 1e-6)
    assert complete({"model_type": "mistral", "num_key_value_heads": None})["num_key_value_heads"] == 32


def test_the_size_of_a_head_is_written_only_where_config_json_tells_it() -> None:
    assert "llama.attention.key_length" not in parameters()
    found = parameters(head_dim=24)
    assert (found["llama.attention.key_length"], found["llama.rope.dimension_count"]) == (24, 24)


def test_half_a_scaling_is_no_reason_to_take_the_bare_file() -> None:
    found = parameters(rope_scaling={"rope_type": "linear"}, rms_norm_eps=...)
    assert found["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)


def test_queries_and_keys_are_permuted_by_their_heads() -> None:
    sources = {
        f"model.layers.0.self_attn.{part}_proj.weight": leaf("xxh3:0", "bf16", (rows, 64))
        for part, rows in (("q", 64), ("k", 32), ("v", 32))
    }
    made = dict(mistral().tensors(sources))
    assert [made[f"blk.0.attn_{part}.weight"].parameters for part in "qk"] == [(4,), (2,)]
    assert made["blk.0.attn_v.weight"].operation == "leaf"


@pytest.mark.parametrize("heads", [0, None, "4", [4], True, 1 << 40])
def test_heads_that_cannot_be_are_an_error(heads: Any) -> None:
    with pytest.raises(Error, match="'num_attention_heads' expects a whole number"):
        parameters(num_attention_heads=heads)
