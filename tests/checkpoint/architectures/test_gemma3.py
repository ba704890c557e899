"""Gemma 3: what transformers fills in, at the root or in the text part; rows that stand for no token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete, find
from modelbuild.checkpoint.architectures.gemma3 import Gemma3, Gemma3ForConditionalGeneration
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.operations.leaf import leaf
from tests import zoo
from tests.checkpoints import pieces
from tests.zoo.gemma3_text import CONFIG


def gemma3(files: dict[str, bytes] | None = None, **changes: Any) -> Gemma3:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
    return Gemma3(Checkpoint({"config.json": json.dumps(config).encode(), **(files or {})}.get))


def parameters(**changes: Any) -> dict[str, Any]:
    return {key: decode_value(value) for key, value in gemma3(**changes).parameters(1).items()}


def test_defaults_are_transformers() -> None:
    assert find("Gemma3ForCausalLM") is Gemma3
    bare = complete({"model_type": "gemma3_text"})
    assert (bare["num_key_value_heads"], bare["head_dim"], bare["sliding_window"]) == (4, 256, 4096)
    assert (bare["rope_theta"], bare["rope_local_base_freq"], bare["vocab_size"]) == (1e6, 1e4, 262208)


def test_the_text_part_is_filled_in_whatever_it_calls_itself() -> None:
    assert find("Gemma3ForConditionalGeneration") is Gemma3ForConditionalGeneration
    for text in ({}, {"model_type": "llama"}, {"num_hidden_layers": 26}):
        found = complete({"model_type": "gemma3", "hidden_size": 7, "text_config": text})
        assert (found["hidden_size"], found["num_hidden_layers"], found["head_dim"]) == (2304, 26, 256)
    assert complete({"model_type": "gemma3"})["hidden_size"] == 2304


def test_nothing_is_filled_in_where_transformers_refuses() -> None:
    scaling = {"type": "linear", "factor": 8.0}
    bare = {"model_type": "gemma3_text", "rope_scaling": scaling}
    assert complete(bare) == bare
    nested = {"model_type": "gemma3", "text_config": {"rope_scaling": scaling}}
    assert complete(nested) == {**nested, "rope_scaling": scaling}
    named = {**bare, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    assert complete(named)["sliding_window"] == 4096


def test_the_last_resort_are_llama_cpps_defaults() -> None:
    keys = (
        "max_position_embeddings",
        "num_attention_heads",
        "rms_norm_eps",
        "head_dim",
        "num_key_value_heads",
        "rope_theta",
    )
    found = parameters(model_type="other", **dict.fromkeys(keys, ...))
    assert (found["gemma3.context_length"], found["gemma3.attention.head_count_kv"]) == (131072, 4)
    assert (found["gemma3.attention.head_count"], found["gemma3.rope.freq_base"]) == (8, 1e6)


@pytest.mark.parametrize("pattern", [1, 6])
def test_a_window_is_written_unless_every_block_sees_all(pattern: int) -> None:
    found = parameters(sliding_window_pattern=pattern)
    assert ("gemma3.attention.sliding_window" in found) == (pattern != 1)
    assert "gemma3.attention.sliding_window" not in parameters(sliding_window_pattern=1, sliding_window=None)


def test_a_window_to_both_sides_is_told_by_its_half() -> None:
    assert parameters(use_bidirectional_attention=True)["gemma3.attention.sliding_window"] == 33


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_logit_softcapping": 50.0}, "'attn_logit_softcapping' expects null, since Gemma 3 has no such cap, got the number 50.0"),
        ({"sliding_window": None}, "'sliding_window' expects a whole number of at least 0, got null"),
        ({"head_dim": "x"}, "'head_dim' expects a whole number of at least 0, got the text \"x\""),
        ({"num_key_value_heads": None}, "'num_key_value_heads' expects a whole number of at least 0, got null"),
        ({"final_logit_softcapping": [1]}, "'final_logit_softcapping' expects a number, got a list"),
        ({"rope_parameters": {"full_attention": 3}}, "'rope_parameters' expects an object for each kind of attention"),
        ({"use_bidirectional_attention": True, "sliding_window": "x"}, "'sliding_window' expects a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message.replace("[", r"\[")):
        parameters(**changes)


@pytest.mark.parametrize("kind", ["tokenizer.model", "tokenizer.json"])
@pytest.mark.parametrize(("rows", "left"), [(400, 320), (320, 320), (200, 200)])
def test_rows_are_cut_to_the_tokens(kind: str, rows: int, left: int) -> None:
    files = {"tokenizer.model": pieces(288), "tokenizer.json": json.dumps(zoo.byte_pairs()).encode()}
    config = {**CONFIG, "tokenizer_class": "PreTrainedTokenizerFast"}
    read = {"config.json": json.dumps(config).encode(), kind: files[kind]}.get
    x = leaf("xxh3:0", "bf16", (rows, 64))
    ((name, made),) = Gemma3(Checkpoint(read, pre="gpt-2")).tensors({"model.embed_tokens.weight": x})
    assert (name, made.shape) == ("token_embd.weight", (left, 64))


def test_norms_of_queries_and_keys_grow_by_one() -> None:
    x = leaf("xxh3:0", "f32", (32,))
    made = dict(
        gemma3({"tokenizer.model": pieces(288)}).tensors(
            {f"model.layers.0.self_attn.{part}_norm.weight": x for part in "qk"}
        )
    )
    assert made == {f"blk.0.attn_{part}_norm.weight": add_one(x) for part in "qk"}


@pytest.mark.parametrize("text", [[], "x", 3])
def test_a_text_part_that_is_no_object_is_an_error(text: Any) -> None:
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text}
    checkpoint = Checkpoint({"config.json": json.dumps(config).encode()}.get)
    with pytest.raises(Error, match="'text_config' expects an object, got"):
        Gemma3ForConditionalGeneration(checkpoint)
