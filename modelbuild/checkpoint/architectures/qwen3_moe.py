"""Qwen3 with experts: those of each tensor apart, as transformers 4 saves them, or stacked already, as transformers 5 does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._experts import gated
from modelbuild.checkpoint.architectures._loads import EMBEDDING, NORMED_HEADS, OUTPUT
from modelbuild.checkpoint.architectures.qwen3 import Qwen3
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.recipe import Expression

_FEED_FORWARD = ("layers.N.mlp.gate_proj", "layers.N.mlp.up_proj", "layers.N.mlp.down_proj")


class Qwen3Moe(Architecture):
    NAME = "qwen3moe"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {NORMED_HEADS}
        blk.N.ffn_gate_inp        embd experts
        blk.N.ffn_gate_exps       embd ff_exp experts
        blk.N.ffn_down_exps       ff_exp embd experts
        blk.N.ffn_up_exps         embd ff_exp experts
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("Qwen3MoeForCausalLM",)
    MODEL_TYPE = "qwen3_moe"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "moe_intermediate_size": 768,
        "num_experts_per_tok": 8,
        "num_experts": 128,
    }
    # The runtime knows no block without experts (gguf-py, MODEL_TENSORS).
    NAMES = {
        **{name: known for name, known in Qwen3.NAMES.items() if name not in _FEED_FORWARD},
        "layers.N.mlp.gate": "blk.N.ffn_gate_inp",
        "layers.N.mlp.experts.gate_proj": "blk.N.ffn_gate_exps",
        "layers.N.mlp.experts.up_proj": "blk.N.ffn_up_exps",
        "layers.N.mlp.experts.down_proj": "blk.N.ffn_down_exps",
    }
    BIASES = ATTENTION_INPUTS

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """(Qwen2MoeModel.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        out.take("expert_feed_forward_length", "u32", "moe_intermediate_size")
        out.take("expert_shared_feed_forward_length", "u32", "shared_expert_intermediate_size")
        return super().parameters(file_type) | out.values

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(Qwen2MoeModel.modify_tensors)"""
        for source, x in gated(sources, self.config):
            yield self.rename(source), x
