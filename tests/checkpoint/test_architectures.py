"""Which architecture reads a checkpoint, and a configuration as it reads it."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint import architectures
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.errors import Error


def test_a_class_is_read_by_one_architecture() -> None:
    found = [
        word
        for kind in architectures.known()
        for word in (*vars(kind).get("CLASSES", ()), *vars(kind).get("ALIASES", ()))
    ]
    assert len(found) == len(set(found))
    assert architectures.find("LlamaForCausalLM") is Llama
    types = [kind.MODEL_TYPE for kind in architectures.known() if kind.MODEL_TYPE]
    assert len(types) == len(set(types))


def test_a_class_that_no_file_reads() -> None:
    with pytest.raises(Error, match="architecture 'NoneForCausalLM' is not supported yet") as caught:
        architectures.find("NoneForCausalLM")
    assert "LlamaForCausalLM" in dict(caught.value.facts)["known"]


def test_a_class_that_is_like_another() -> None:
    with pytest.raises(Error) as caught:
        architectures.find("MistralModel")
    assert dict(caught.value.facts)["nearest"] == "MistralForCausalLM"
    assert 'set architecture = "MistralForCausalLM"' in str(caught.value.hint)
    # What config.json says of the type counts for more than the spelling of the class.
    with pytest.raises(Error) as caught:
        architectures.find("MistralModel", model_type="qwen2")
    assert dict(caught.value.facts)["nearest"] == "Qwen2ForCausalLM"


def test_a_class_of_a_package_that_is_gone() -> None:
    with pytest.raises(Error, match="the package 'gone 1.0', which reads 'NoneForCausalLM', is not installed"):
        architectures.find("NoneForCausalLM", "gone 1.0")


def test_the_part_of_the_text_model_stands_over_the_rest() -> None:
    config = {"hidden_size": 1, "vocab_size": 2, "text_config": {"model_type": "llama", "hidden_size": 3}}
    full = architectures.complete(config)
    assert (full["hidden_size"], full["vocab_size"], full["intermediate_size"]) == (3, 32000, 11008)


def test_parts_of_a_model_that_transformers_does_not_know_are_left_as_they_are() -> None:
    config = {"model_type": "lfm2-vl", "text_config": {"model_type": "lfm2", "hidden_size": 3}}
    assert "conv_L_cache" not in architectures.complete(config)
    assert architectures.complete({**config, "model_type": "lfm2_vl"})["conv_L_cache"] == 3
    # A type that is none is unknown, too.
    assert architectures.complete({**config, "model_type": ["x"]})["hidden_size"] == 3


def test_a_type_of_rope_has_the_name_of_today() -> None:
    full = architectures.complete({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert full["rope_scaling"]["rope_type"] == "linear"
    half = {"model_type": "llama", "rope_scaling": {"type": "linear"}}
    assert architectures.complete(half) == half
