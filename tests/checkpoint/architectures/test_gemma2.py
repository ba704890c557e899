"""Gemma 2: what transformers fills in, and what the runtime cannot do without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete, find
from modelbuild.checkpoint.architectures.gemma2 import Gemma2
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.operations.leaf import leaf
from tests.zoo.gemma2 import CONFIG


def gemma2(**changes: Any) -> Gemma2:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
    return Gemma2(Checkpoint({"config.json": json.dumps(config).encode()}.get))


def test_defaults_are_transformers() -> None:
    assert find("Gemma2ForCausalLM") is Gemma2
    bare = complete({"model_type": "gemma2"})
    assert (bare["num_key_value_heads"], bare["head_dim"], bare["sliding_window"]) == (4, 256, 4096)
    assert (bare["attn_logit_softcapping"], bare["final_logit_softcapping"]) == (50.0, 30.0)


def test_layer_types_that_do_not_fit_leave_the_bare_file() -> None:
    bare = {"model_type": "gemma2", "num_hidden_layers": 2, "layer_types": ["full_attention"]}
    assert complete(bare) == bare
    assert "head_dim" in complete({**bare, "layer_types": ["full_attention", "sliding_attention"]})


def test_all_four_norms_of_a_block_grow_by_one() -> None:
    x = leaf("xxh3:0", "f32", (64,))
    norms = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }
    made = dict(gemma2().tensors({f"model.layers.1.{name}.weight": x for name in norms}))
    assert made == {f"blk.1.{name}.weight": add_one(x) for name in norms.values()}


@pytest.mark.parametrize("key", ["attn_logit_softcapping", "final_logit_softcapping", "sliding_window"])
def test_caps_and_windows_are_asked_for(key: str) -> None:
    with pytest.raises(Error, match=f"'{key}' expects a .*number.*, got null"):
        gemma2(**{key: None}).parameters(1)
    with pytest.raises(Error, match=f"'{key}' expects a .*number.*, which is missing"):
        gemma2(model_type="other", **{key: ...}).parameters(1)
