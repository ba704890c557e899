"""Hyper-parameters: which there are, in which order and of which type."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value, type_name

CONFIG = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "rms_norm_eps": 1e-5}


def read(config: dict[str, Any]) -> dict[str, Any]:
    return {key: decode_value(value) for key, value in base_parameters("m", config, 1).items()}


def test_what_has_no_source_is_left_out() -> None:
    assert list(read(CONFIG).items()) == [
        ("m.block_count", 2),
        ("m.embedding_length", 64),
        ("m.attention.head_count", 4),
        ("m.attention.layer_norm_rms_epsilon", pytest.approx(1e-5)),
        ("general.file_type", 1),
    ]


def test_scaled_rotary_frequencies() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096, "beta_fast": 32.0}
    found = read({**CONFIG, "rope_scaling": scaling, "rope_theta": 1e6})
    assert {key: value for key, value in found.items() if ".rope." in key} == {
        "m.rope.scaling.type": "yarn",
        "m.rope.scaling.factor": 4.0,
        "m.rope.scaling.original_context_length": 4096,
        "m.rope.scaling.yarn_beta_fast": 32.0,
        "m.rope.freq_base": 1e6,
    }
    assert read({**CONFIG, "rope_scaling": {"type": "su"}})["m.rope.scaling.type"] == "longrope"


def test_the_gating_of_experts() -> None:
    assert read({**CONFIG, "scoring_func": "sigmoid"})["m.expert_gating_func"] == 2
    with pytest.raises(Error, match='expects one of softmax, sigmoid, sqrtsoftplus, got the text "tanh"'):
        read({**CONFIG, "scoring_func": "tanh"})


def test_a_writer_takes_the_first_key_that_is_there() -> None:
    out = Writer("m", {"a": None, "b": 1, "c": 2})
    out.take("x", "u32", "z", "b", "c")
    out.take("y", "u32", "a", "b")
    assert {key: (type_name(value), decode_value(value)) for key, value in out.values.items()} == {"m.x": ("u32", 1)}


@pytest.mark.parametrize(
    ("form", "words"), [("u32", "a whole number of at least 0"), ("f32", "a number"), ("[i32]", "whole numbers")]
)
def test_a_value_of_another_type(form: str, words: str) -> None:
    with pytest.raises(Error, match=f"'b' expects {words}, got the text \"x\""):
        Writer("m", {"b": "x"}).take("x", form, "b")
