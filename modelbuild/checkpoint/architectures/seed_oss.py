"""Seed-OSS: biases on queries, keys and values, heads of their own size."""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING, FEED_FORWARD, OUTPUT
from modelbuild.checkpoint.config import with_heads
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers


class SeedOss(Architecture):
    """(llama.cpp conversion/olmo.py, SeedOssModel)"""

    NAME = "seed_oss"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {FEED_FORWARD}
        blk.N.qkv                 queries keys keys
        blk.N.attn_output         queries embd
        blk.N.attn_norm           embd
        blk.N.post_attention_norm embd
    """
    CLASSES = ("SeedOssForCausalLM",)
    MODEL_TYPE = "seed_oss"
    DEFAULTS = {
        "vocab_size": 155136,
        "hidden_size": 4096,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 80,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 524288,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    NAMES = {**NAMES, "layers.N.post_attention_layernorm": "blk.N.post_attention_norm"}
    BIASES = ATTENTION_INPUTS

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, SeedOssConfig)"""
        return with_heads(config)

    @property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))
