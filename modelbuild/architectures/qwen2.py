"""Qwen2 and Qwen2.5: biases on queries, keys and values, whose rotations are in the order of the runtime."""

from __future__ import annotations

from typing import Any

from modelbuild.architectures import Architecture, Config, layer_types_fit, number, transformers_takes


class Qwen2(Architecture):
    NAME = "qwen2"
    CLASSES = ("Qwen2ForCausalLM",)
    MODEL_TYPE = "qwen2"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Qwen2Config)"""
        return transformers_takes(config) and layer_types_fit({**cls.DEFAULTS, **config})

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen2Config)"""
        if config["num_key_value_heads"] is None:
            config["num_key_value_heads"] = number(config, "num_attention_heads")
        return config
