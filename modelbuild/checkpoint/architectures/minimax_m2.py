"""MiniMax M2: experts that are chosen with a bias, norms over all queries and all keys, heads of which a part turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._experts import named_as_mixtral, stacked
from modelbuild.checkpoint.architectures._loads import EMBEDDING
from modelbuild.checkpoint.config import number, rope_parameters, share
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES, rename
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.recipe import Expression

SIGMOID = 2
"""How experts are chosen (llama.h, llama_expert_gating_func_type)."""


class MiniMaxM2(Architecture):
    """(llama.cpp conversion/minimax.py, MiniMaxM2Model)"""

    NAME = "minimax-m2"
    LOADS = f"""
        {EMBEDDING}
        output                    embd vocab
        blk.N.qkv                 queries values values
        blk.N.attn_output         queries embd
        blk.N.attn_norm           embd
        blk.N.attn_q_norm         queries
        blk.N.attn_k_norm         keys
        blk.N.ffn_norm            embd
        blk.N.ffn_gate_inp        embd experts
        blk.N.ffn_gate_exps       embd ff experts
        blk.N.ffn_down_exps       ff embd experts
        blk.N.ffn_up_exps         embd ff experts
        blk.N.exp_probs_b.bias    experts
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("MiniMaxM2ForCausalLM",)
    NAMES = {name: known for name, known in NAMES.items() if ".mlp." not in name} | {
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
        "layers.N.block_sparse_moe.gate": "blk.N.ffn_gate_inp",
        "layers.N.block_sparse_moe.experts.w1": "blk.N.ffn_gate_exps",
        "layers.N.block_sparse_moe.experts.w2": "blk.N.ffn_down_exps",
        "layers.N.block_sparse_moe.experts.w3": "blk.N.ffn_up_exps",
    }
    SHAPES = """
        blk.N.attn_q_norm         queries
        blk.N.attn_k_norm         keys
        blk.N.exp_probs_b.bias    experts
    """
    BIASES = rf"{ATTENTION_INPUTS}|blk\.N\.exp_probs_b"
    NEEDED = ("output.weight", "blk.N.exp_probs_b.bias")
    ASKS = (*Architecture.ASKS, "expert_feed_forward_length")

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """(MiniMaxM2Model.set_gguf_parameters) What transformers does not write, is as it computes: its part of a head, and sigmoid."""
        values, config = super().parameters(file_type), self.config
        out = Writer(self.NAME, config)
        if f"{self.NAME}.expert_gating_func" not in values:
            out.put("expert_gating_func", "u32", SIGMOID, "scoring_func")
        out.put("expert_feed_forward_length", "u32", number(config, "intermediate_size"), "intermediate_size")
        out.put("rope.dimension_count", "u32", self.turned, "rotary_dim")
        return values | out.values

    @property
    def turned(self) -> int:
        """How many values of each head turn with the position."""
        config = self.config
        if "rotary_dim" in config:
            return number(config, "rotary_dim")
        part = share(rope_parameters(config).get("partial_rotary_factor", 1.0), "partial_rotary_factor")
        return int(number(config, "head_dim") * part)

    def rename(self, source: str) -> str:
        # A bias without a weight: none that NAMES could tell of.
        names = {**self.NAMES, "layers.N.block_sparse_moe.e_score_correction": "blk.N.exp_probs_b"}
        return rename(source, names, self.blocks.stop)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(MiniMaxM2Model.modify_tensors)"""
        named = {
            source.replace("e_score_correction_bias", "e_score_correction.bias"): x for source, x in sources.items()
        }
        for source, x in stacked(
            dict(named_as_mixtral(named)), ("w1", "w2", "w3"), self.config, "num_local_experts", "num_experts"
        ):
            yield self.rename(source), x
