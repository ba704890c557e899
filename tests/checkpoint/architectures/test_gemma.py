"""Gemma: norms that grow by one, outputs that are left out, a tokenizer that must be pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete, find
from modelbuild.checkpoint.architectures.gemma import Gemma
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.operations.leaf import leaf
from tests.checkpoints import pieces
from tests.zoo.gemma import CONFIG


def gemma(files: dict[str, bytes] | None = None, **changes: Any) -> Gemma:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
    return Gemma(Checkpoint({"config.json": json.dumps(config).encode(), **(files or {})}.get))


def test_defaults_are_transformers() -> None:
    assert find("GemmaForCausalLM") is Gemma
    bare = complete({"model_type": "gemma", "num_attention_heads": 8})
    assert (bare["num_key_value_heads"], bare["head_dim"], bare["max_position_embeddings"]) == (16, 256, 8192)


def test_norms_grow_by_one_and_nothing_else() -> None:
    x = leaf("xxh3:0", "f16", (64,))
    names = (
        "model.norm",
        "model.layers.0.input_layernorm",
        "model.layers.0.self_attn.o_proj",
        "model.layers.0.input_layernorm",
    )
    sources = {f"{name}.{suffix}": x for name, suffix in zip(names, ("weight", "weight", "bias", "bias"), strict=True)}
    made = dict(gemma().tensors(sources))
    assert made == {
        "output_norm.weight": add_one(x),
        "blk.0.attn_norm.weight": add_one(x),
        "blk.0.attn_output.bias": x,
        "blk.0.attn_norm.bias": x,
    }


def test_the_output_is_left_out_and_its_bias_is_an_error() -> None:
    x = leaf("xxh3:0", "bf16", (320, 64))
    assert not list(gemma().tensors({"lm_head.weight": x}))
    with pytest.raises(Error, match="tensor 'lm_head.bias' cannot be mapped"):
        list(gemma().tensors({"lm_head.bias": x}))


def test_keys_without_heads_of_their_own_have_those_of_the_queries() -> None:
    found = gemma(model_type="other", num_key_value_heads=...).parameters(1)
    assert decode_value(found["gemma.attention.head_count_kv"]) == 4


REQUIRED = (
    "max_position_embeddings", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "rms_norm_eps",
    "head_dim",
)  # fmt: skip


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize(("value", "got"), [(None, "got null"), ("x", 'got the text "x"'), ({}, "got an object")])
def test_what_the_runtime_needs_is_asked_for(key: str, value: Any, got: str) -> None:
    with pytest.raises(Error, match=f"'{key}' expects a .*number.*, {got}"):
        gemma(**{key: value}).parameters(1)


def test_what_a_bare_file_lacks_is_asked_for() -> None:
    with pytest.raises(Error, match="'head_dim' expects a whole number of at least 0, which is missing"):
        gemma(model_type="other", head_dim=...).parameters(1)


def test_only_pieces_will_do_for_a_tokenizer() -> None:
    with pytest.raises(Error, match=r"expected tokenizer.model beside config.json"):
        _ = gemma({"tokenizer.json": b"{}"}).tokenizer
    found = gemma({"tokenizer.model": pieces(288)}).tokenizer
    assert decode_value(found["tokenizer.ggml.eot_token_id"]) == 107
    assert list(found)[-1] == "tokenizer.ggml.add_space_prefix"
