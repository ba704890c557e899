"""Experts as DeepSeek arranged them: the first blocks have none; of those of a later one some are chosen, and some all tokens share.

Source: llama.cpp conversion/deepseek.py (DeepseekV2Model), conversion/glm.py (Glm4MoeModel)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._experts import gated
from modelbuild.checkpoint.config import block_count, number
from modelbuild.checkpoint.tensor_names import rename
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

SIGMOID = 2
"""How experts are chosen (llama.h, llama_expert_gating_func_type)."""

LOADS = """
    first blk.N.ffn_gate          embd ff
    first blk.N.ffn_down          ff embd
    first blk.N.ffn_up            embd ff
    later blk.N.ffn_gate_inp      embd experts
    later blk.N.ffn_gate_exps     embd ff_exp experts
    later blk.N.ffn_down_exps     ff_exp embd experts
    later blk.N.ffn_up_exps       embd ff_exp experts
    shared blk.N.ffn_gate_shexp   embd ff_shexp
    shared blk.N.ffn_down_shexp   ff_shexp embd
    shared blk.N.ffn_up_shexp     embd ff_shexp
"""
"""Lines of LOADS."""

NAMES = {
    "layers.N.mlp.gate": "blk.N.ffn_gate_inp",
    "layers.N.mlp.experts.gate_proj": "blk.N.ffn_gate_exps",
    "layers.N.mlp.experts.up_proj": "blk.N.ffn_up_exps",
    "layers.N.mlp.experts.down_proj": "blk.N.ffn_down_exps",
    "layers.N.mlp.shared_experts.gate_proj": "blk.N.ffn_gate_shexp",
    "layers.N.mlp.shared_experts.up_proj": "blk.N.ffn_up_shexp",
    "layers.N.mlp.shared_experts.down_proj": "blk.N.ffn_down_shexp",
}
"""Further stems of NAMES."""

SHAPES = """
    blk.N.exp_probs_b.bias        experts
"""
"""Lines of SHAPES."""

_EXPERTS = (
    "ffn_gate_inp",
    "exp_probs_b",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_down_exps",
    "ffn_gate_shexp",
    "ffn_up_shexp",
    "ffn_down_shexp",
)


class DenseFirst(Architecture):
    """A mixin: which blocks have experts, and what becomes of these."""

    @property
    def dense(self) -> int:
        """How many blocks come before those with experts: as many as it has, in a model without any.

        transformers 5 writes the kind of each block in its place, for which the converter does not ask.
        """
        blocks, kinds = block_count(self.config), self.config.get("mlp_layer_types")
        count = self.config.get("first_k_dense_replace")
        if count is None and kinds is not None:
            return self._counted(kinds, blocks)
        if count is None:
            count = 0 if self.config.get("n_routed_experts") is not None else blocks
        if type(count) is not int or not 0 <= count < 1 << 31:
            raise Error(f"'first_k_dense_replace' expects a number of blocks, got {in_json(count)}", path="config.json")
        return count

    def _counted(self, kinds: Any, blocks: int) -> int:
        count = next((n for n, kind in enumerate(kinds) if kind != "dense"), blocks) if isinstance(kinds, list) else 0
        if kinds != ["dense"] * count + ["sparse"] * (blocks - count):
            raise Error(
                f"'mlp_layer_types' expects {blocks} kinds, first 'dense' and then 'sparse', got {in_json(kinds)}",
                path="config.json",
            )
        return count

    @property
    def shared(self) -> int:
        """How many experts all tokens share. Raises Error for none: no runtime computes blocks with experts without."""
        asked = self.dense < block_count(self.config) or self.config.get("n_shared_experts")
        return number(self.config, "n_shared_experts") if asked else 0

    def has(self, stem: str, block: int) -> bool:
        part = stem.removeprefix("blk.N.")
        if part in ("ffn_gate", "ffn_up", "ffn_down"):
            return block < self.dense
        if part in _EXPERTS:
            return block >= self.dense
        return super().has(stem, block)

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        found = {}
        if self.config.get("n_routed_experts") is not None:
            found["experts"] = number(self.config, "n_routed_experts"), "n_routed_experts"
        if self.config.get("n_shared_experts"):
            each, count = number(self.config, "moe_intermediate_size"), number(self.config, "n_shared_experts")
            found["ff_shexp"] = each * count, "moe_intermediate_size * n_shared_experts"
        return {**super().sizes(block), **found}

    def rename(self, source: str) -> str:
        # A bias without a weight: none that NAMES could tell of.
        names = {**self.NAMES, "layers.N.mlp.gate.e_score_correction": "blk.N.exp_probs_b"}
        return rename(source, names, self.blocks.stop)

    def stacked(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """A checkpoint's tensors, with the experts of a block stacked."""
        named = {
            source.replace("e_score_correction_bias", "e_score_correction.bias"): x for source, x in sources.items()
        }
        return gated(named, self.config, "n_routed_experts")
