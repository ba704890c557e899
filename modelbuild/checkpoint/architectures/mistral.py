"""Mistral: a Llama, to the runtime; the window of its attention is not written."""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import Config, with_key_heads


class Mistral(Llama):
    """(llama.cpp's LlamaModel reads both)"""

    CLASSES = ("MistralForCausalLM",)
    MODEL_TYPE = "mistral"
    DEFAULTS = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": None,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Always: MistralConfig looks into none of its values."""
        return True

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, MistralConfig) The size of a head stays open where config.json does not tell it."""
        return with_key_heads(config)
