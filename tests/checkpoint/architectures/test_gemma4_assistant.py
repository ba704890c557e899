"""Drafts of Gemma 4: their joints with the large model, and what is not read of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import find
from modelbuild.checkpoint.architectures.gemma4_assistant import Gemma4Assistant
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests.zoo.gemma4_assistant import CONFIG


def assistant(**changes: Any) -> Gemma4Assistant:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
    return Gemma4Assistant(Checkpoint({"config.json": json.dumps(config).encode()}.get))


def test_what_it_says_of_the_model_that_it_serves() -> None:
    assert find("Gemma4AssistantForCausalLM") is find("Gemma4UnifiedAssistantForCausalLM") is Gemma4Assistant
    found = {key: decode_value(value) for key, value in assistant().parameters(1).items()}
    assert found["gemma4-assistant.embedding_length_out"] == 96
    assert found["gemma4-assistant.nextn_predict_layers"] == found["gemma4-assistant.block_count"] == 3


@pytest.mark.parametrize("size", [..., 0, "x"])
def test_the_size_of_that_model_is_needed(size: Any) -> None:
    with pytest.raises(Error, match="'backbone_hidden_size' expects a whole number of at least 1"):
        assistant(backbone_hidden_size=size).parameters(1)


def test_its_shorter_list_of_tokens_is_left_out() -> None:
    given = dict.fromkeys(
        ("pre_projection.weight", "masked_embedding.centroids.weight", "masked_embedding.token_ordering"), 1
    )
    assert assistant().choose(given) == {"pre_projection.weight": 1}


def test_its_joints_have_names_of_their_own() -> None:
    rename = assistant().rename
    assert rename("pre_projection.weight") == "nextn.pre_projection.weight"
    assert rename("model.layers.2.layer_scalar") == "blk.2.layer_output_scale.weight"
    with pytest.raises(Error, match="cannot be mapped"):
        rename("model.layers.0.self_attn.k_proj.weight")
