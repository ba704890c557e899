"""K-EXAONE: experts in all blocks but the first, chosen with a bias, beside those that all tokens share; windows in most blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelbuild.checkpoint.architectures import _mtp
from modelbuild.checkpoint.architectures._experts import gated, has_part, leading
from modelbuild.checkpoint.architectures._loads import EMBEDDING, NORMED_HEADS
from modelbuild.checkpoint.architectures.cohere import unscaled
from modelbuild.checkpoint.architectures.exaone4 import Exaone4
from modelbuild.checkpoint.config import block_count, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES, rename
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression

SIGMOID = 2
"""How experts are chosen (llama.h, llama_expert_gating_func_type)."""

_PARTS = ("gate_proj", "up_proj", "down_proj")


class ExaoneMoe(_mtp.Idle, Exaone4):
    """(llama.cpp conversion/exaone.py, ExaoneMoEModel)"""

    NAME = "exaone-moe"
    LOADS = f"""
        {EMBEDDING} {NORMED_HEADS.replace("queries values values", "queries keys keys")} {_mtp.LOADS}
        output                            embd vocab
        rope_freqs?                       rot/2
        first blk.N.ffn_gate              embd ff
        first blk.N.ffn_up                embd ff
        first blk.N.ffn_down              ff embd
        nextn blk.N.ffn_gate              embd ff
        nextn blk.N.ffn_up                embd ff
        nextn blk.N.ffn_down              ff embd
        later blk.N.ffn_gate_inp          embd experts
        later blk.N.exp_probs_b.bias?     experts
        later blk.N.ffn_gate_exps         embd ff_exp experts
        later blk.N.ffn_down_exps         ff_exp embd experts
        later blk.N.ffn_up_exps           embd ff_exp experts
        later blk.N.ffn_gate_shexp        embd ff_shexp
        later blk.N.ffn_down_shexp        ff_shexp embd
        later blk.N.ffn_up_shexp          embd ff_shexp
    """
    CLASSES = ("ExaoneMoEForCausalLM", "ExaoneMoeForCausalLM")
    MODEL_TYPE = ""
    DEFAULTS = {}
    NAMES = {
        **NAMES,
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
        "layers.N.mlp.gate": "blk.N.ffn_gate_inp",
        **{f"layers.N.mlp.experts.{part}": f"blk.N.ffn_{part[:-5]}_exps" for part in _PARTS},
        **{f"layers.N.mlp.shared_experts.{part}": f"blk.N.ffn_{part[:-5]}_shexp" for part in _PARTS},
        **_mtp.NAMES,
    }
    SHAPES = f"""
        {Exaone4.SHAPES}
        blk.N.exp_probs_b.bias            experts
    """
    OPTIONAL = "(?!)"
    BIASES = rf"{ATTENTION_INPUTS}|blk\.N\.exp_probs_b"
    NEEDED = ("output.weight",)
    # Which blocks have which, `has` says of each.
    EXPERTS_BESIDE = True
    FREE_HEADS = True
    REQUIRED = {**Exaone4.REQUIRED, "attention.sliding_window": "sliding_window"}
    ASKS = (*Exaone4.ASKS, "attention.sliding_window", "expert_feed_forward_length", "expert_gating_func")

    @property
    def dense(self) -> int:
        """How many blocks come before those with experts."""
        blocks = block_count(self.config)
        return leading(self.config, blocks, "first_k_dense_replace", "first_last_k_dense_replace")

    def has(self, stem: str, block: int) -> bool:
        found = has_part(stem, experts=self.dense <= block < block_count(self.config))
        return super().has(stem, block) if found is None else found

    def parameters(self, file_type: int) -> Values:
        """(ExaoneMoEModel.set_gguf_parameters) What transformers does not write, is as it computes: by sigmoid."""
        config = self.config
        values = super().parameters(file_type) | {f"{self.NAME}.block_count": encode_value("u32", self.blocks.stop)}
        width, shared = number(config, "moe_intermediate_size"), number(config, "num_shared_experts")
        out = Writer(self.NAME, config)
        if f"{self.NAME}.expert_gating_func" not in values:
            out.put("expert_gating_func", "u32", SIGMOID, "scoring_func")
        out.put("expert_feed_forward_length", "u32", width, "moe_intermediate_size")
        out.put("expert_shared_count", "u32", shared, "num_shared_experts")
        out.put("expert_shared_feed_forward_length", "u32", width * shared, "num_shared_experts")
        out.put("expert_weights_scale", "f32", *self._said("routed_scaling_factor"))
        out.put("expert_weights_norm", "bool", *self._said("norm_topk_prob"))
        out.put("leading_dense_block_count", "u32", self.dense, "first_k_dense_replace")
        out.put("nextn_predict_layers", "u32", self.further, self.KEY)
        return values | out.values | unscaled(self.NAME)

    def _said(self, key: str) -> tuple[object, str]:
        if self.config.get(key) is None:
            raise Error(f"'{key}' is missing", path="config.json")
        return self.config[key], key

    @property
    def loses_windows(self) -> bool:
        """No: the runtime reads them from the file."""
        return False

    def rename(self, source: str) -> str:
        # A bias without a weight: none that NAMES could tell of.
        bias = "blk.N.exp_probs_b"
        names = {"layers.N.mlp.e_score_correction": bias, "layers.N.mlp.gate.e_score_correction": bias}
        return rename(source, {**self.NAMES, **names}, self.blocks.stop)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(ExaoneMoEModel.modify_tensors)"""
        named = {name.replace("e_score_correction_bias", "e_score_correction.bias"): x for name, x in sources.items()}
        for source, x in gated(named, self.config):
            yield self.rename(source), x
