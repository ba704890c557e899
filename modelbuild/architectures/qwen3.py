"""Qwen3: a Llama with norms over the queries and keys of each head, whose rotations are in the order of the runtime."""

from __future__ import annotations

from typing import Any

from modelbuild.architectures import Architecture, Config, number, transformers_takes
from modelbuild.architectures.gemma2 import layer_types_fit


class Qwen3(Architecture):
    NAME = "qwen3"
    CLASSES = ("Qwen3ForCausalLM",)
    MODEL_TYPE = "qwen3"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    NAMES = {
        **Architecture.NAMES,
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
    }

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Qwen3Config)"""
        return transformers_takes(config) and layer_types_fit({**cls.DEFAULTS, **config})

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen3Config)"""
        if config["num_key_value_heads"] is None:
            config["num_key_value_heads"] = number(config, "num_attention_heads")
        return config
