"""Mixtral: a Llama whose feed-forward part is a choice of experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.checkpoint.architectures._experts import named_as_mixtral, stacked
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import Config, with_key_heads
from modelbuild.tensors.recipe import Expression


class Mixtral(Llama):
    """(llama.cpp's LlamaModel reads both)"""

    CLASSES = ("MixtralForCausalLM",)
    MODEL_TYPE = "mixtral"
    DEFAULTS = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": None,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e6,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
    }
    NAMES = {
        **Llama.NAMES,
        "layers.N.block_sparse_moe.gate": "blk.N.ffn_gate_inp",
        "layers.N.block_sparse_moe.experts.w1": "blk.N.ffn_gate_exps",
        "layers.N.block_sparse_moe.experts.w2": "blk.N.ffn_down_exps",
        "layers.N.block_sparse_moe.experts.w3": "blk.N.ffn_up_exps",
    }

    BIASES = r"blk\.N\.attn_(q|k|v|output)"

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Always: MixtralConfig looks into none of its values."""
        return True

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, MixtralConfig) The size of a head stays open where config.json does not tell it."""
        return with_key_heads(config)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        each = dict(named_as_mixtral(sources))
        return super().tensors(dict(stacked(each, ("w1", "w2", "w3"), self.config, "num_local_experts")))
