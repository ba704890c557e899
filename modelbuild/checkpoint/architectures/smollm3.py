"""SmolLM3: a Llama of which every fourth block does without rotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.checkpoint.architectures._loads import ATTENTION, EMBEDDING, FEED_FORWARD, OUTPUT
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import Config, layer_types_fit, transformers_takes, with_key_heads
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.errors import Error


class SmolLM3(Llama):
    """(llama.cpp conversion/llama.py, SmolLM3Model) Which blocks these are, the runtime knows by itself."""

    NAME = "smollm3"
    LOADS = EMBEDDING + OUTPUT + ATTENTION + FEED_FORWARD
    CLASSES = ("SmolLM3ForCausalLM",)
    MODEL_TYPE = "smollm3"
    DEFAULTS = {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 2e6,
    }
    BIASES = ATTENTION_INPUTS

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, SmolLM3Config)"""
        return transformers_takes(config) and layer_types_fit({**cls.DEFAULTS, **config})

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, SmolLM3Config)"""
        return with_key_heads(config)

    def constants(self) -> Mapping[str, bytes]:
        """None. The converter would write factors of rotary frequencies, with which the runtime does not load the file."""
        if super().constants():
            raise Error("llama.cpp's runtime knows no llama3 rope scaling for SmolLM3", path="config.json")
        return {}
