"""What config.json says, whatever the keys under which it says so."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.checkpoint.config import (
    block_count,
    class_of,
    first,
    layer_types_fit,
    number,
    rope_parameters,
    share,
    transformers_takes,
)
from modelbuild.errors import Error


def test_the_class_in_the_text_part_comes_first() -> None:
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {"architectures": ["LlamaForCausalLM"]},
    }
    assert class_of(config) == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({}, "'architectures' is missing"),
        ({"architectures": []}, "'architectures' is missing"),
        ({"architectures": "LlamaForCausalLM"}, 'expects a list of classes, got the text "LlamaForCausalLM"'),
        ({"architectures": [None]}, "expects a list of classes, got a list with null"),
        ({"architectures": [5]}, "expects a list of classes, got a list with the number 5"),
    ],
)
def test_a_config_without_a_class(config: dict[str, Any], what: str) -> None:
    with pytest.raises(Error, match=what):
        class_of(config)


def test_the_first_key_that_is_there_counts() -> None:
    config = {"num_hidden_layers": 2, "n_layer": 3, "n_embd": None, "hidden_size": 4}
    assert block_count(config) == 2
    assert first(config, "n_embd", "hidden_size") is None
    assert first(config, "dim") is None


@pytest.mark.parametrize("value", [0, -1, 1 << 31, 2.0, True, "2", None])
def test_a_count_is_a_whole_number_of_one_or_more(value: object) -> None:
    with pytest.raises(Error, match="'n' expects a whole number of at least 1, got"):
        number({"n": value}, "n", "m")
    with pytest.raises(Error, match="'m' expects a whole number of at least 1, which is missing"):
        number({}, "n", "m")


@pytest.mark.parametrize("value", [0, -0.5, 1.5, True, "half", None, float("nan")])
def test_a_share_is_above_nothing_and_at_most_all(value: object) -> None:
    assert [share(0.5, "part"), share(1, "part")] == [0.5, 1.0]
    with pytest.raises(Error, match="'part' expects a number above 0 and at most 1, got"):
        share(value, "part")


def test_rope_parameters_have_one_form() -> None:
    assert rope_parameters({"rope_theta": 1e4}) == {"rope_theta": 1e4}
    old = {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 1e6, "rope_local_base_freq": 1e4}
    assert rope_parameters(old) == {
        "type": "linear", "factor": 2.0, "sliding_attention": {"rope_theta": 1e4}, "rope_theta": 1e6, "rope_type": "linear",
    }  # fmt: skip
    new = {"rope_parameters": {"full_attention": {"rope_theta": 1e6}}, "rope_theta": 5}
    assert rope_parameters(new) == new["rope_parameters"]
    with pytest.raises(Error, match="'rope_scaling' expects an object, got a list"):
        rope_parameters({"rope_scaling": [1]})


@pytest.mark.parametrize(
    ("scaling", "takes"),
    [
        (None, True),
        ({"type": "linear", "factor": 2.0}, True),
        ({"rope_type": "linear"}, False),
        ({"factor": 2.0}, False),
        ({"rope_type": "llama3", "factor": 8.0}, False),
        ({"rope_type": "su"}, True),
        ("linear", False),
    ],
)
def test_transformers_refuses_half_a_scaling(scaling: object, takes: bool) -> None:
    assert transformers_takes({"rope_scaling": scaling}) is takes


def test_kinds_of_attention_are_one_a_block() -> None:
    full = ["full_attention", "sliding_attention"]
    assert layer_types_fit({"num_hidden_layers": 2, "layer_types": full})
    assert layer_types_fit({"num_hidden_layers": 2})
    assert not layer_types_fit({"num_hidden_layers": 3, "layer_types": full})
    assert not layer_types_fit({"num_hidden_layers": 1, "layer_types": ["mamba"]})
