"""LFM2 with experts, which the first blocks lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelbuild.checkpoint.architectures._experts import stacked
from modelbuild.checkpoint.architectures._short_convolution import LOADED, ShortConvolution
from modelbuild.checkpoint.config import number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import rename
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

SIGMOID = 2
"""How experts are chosen (llama.h, llama_expert_gating_func_type)."""


class Lfm2Moe(ShortConvolution):
    """(llama.cpp conversion/lfm2.py, LFM2MoeModel)"""

    NAME = "lfm2moe"
    LOADS = f"""
        {LOADED}
        first blk.N.ffn_gate              embd ff
        first blk.N.ffn_up                embd ff
        first blk.N.ffn_down              ff embd
        later blk.N.ffn_gate_inp          embd experts
        later blk.N.ffn_gate_exps         embd ff_exp experts
        later blk.N.ffn_down_exps         ff_exp embd experts
        later blk.N.ffn_up_exps           embd ff_exp experts
        later blk.N.exp_probs_b.bias      experts
    """
    CLASSES = ("Lfm2MoeForCausalLM",)
    NAMES = {
        **ShortConvolution.NAMES,
        "layers.N.feed_forward.gate": "blk.N.ffn_gate_inp",
        "layers.N.feed_forward.experts.w1": "blk.N.ffn_gate_exps",
        "layers.N.feed_forward.experts.w2": "blk.N.ffn_down_exps",
        "layers.N.feed_forward.experts.w3": "blk.N.ffn_up_exps",
    }
    SHAPES = f"""
        {ShortConvolution.SHAPES}
        blk.N.exp_probs_b.bias    experts
    """
    BIASES = r"blk\.N\.(attn_(q|k|v|qkv)|exp_probs_b)"
    NEEDED = ("blk.N.exp_probs_b.bias",)
    ASKS = (*ShortConvolution.ASKS, "expert_feed_forward_length", "expert_gating_func")

    def attends(self, kind: object) -> bool:
        return kind == "full_attention"

    @property
    def dense(self) -> int:
        """How many blocks come before those with experts."""
        count = self.config.get("num_dense_layers")
        if type(count) is not int or not 0 <= count <= self.blocks.stop:
            raise Error(
                f"'num_dense_layers' expects a number of blocks, at most {self.blocks.stop}, got {in_json(count)}",
                path="config.json",
            )
        return count

    def has(self, stem: str, block: int) -> bool:
        name = stem.removeprefix("blk.N.")
        if name in ("ffn_gate", "ffn_up", "ffn_down"):
            return block < self.dense
        if name in ("ffn_gate_inp", "exp_probs_b") or name.endswith("_exps"):
            return block >= self.dense
        return super().has(stem, block)

    def parameters(self, file_type: int) -> Values:
        """(LFM2MoeModel.set_gguf_parameters)"""
        values, config = super().parameters(file_type), self.config
        out = Writer(self.NAME, config)
        key = "moe_intermediate_size"
        out.put("expert_feed_forward_length", "u32", number(config, key), key)
        out.put("leading_dense_block_count", "u32", self.dense, "num_dense_layers")
        out.values[f"{self.NAME}.expert_gating_func"] = encode_value("u32", SIGMOID)
        out.put("vocab_size", "u32", number(config, "vocab_size"), "vocab_size")
        out.put("shortconv.l_cache", "u32", number(config, "conv_L_cache"), "conv_L_cache")
        return values | out.values

    def rename(self, source: str) -> str:
        # A bias without a weight: none that NAMES could tell of.
        names = {**self.NAMES, "layers.N.feed_forward.expert_bias": "blk.N.exp_probs_b"}
        return rename(source, names, self.blocks.stop)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(LFM2MoeModel.modify_tensors)"""
        named = {f"{name}.bias" if name.endswith(".expert_bias") else name: x for name, x in sources.items()}
        return super().tensors(
            dict(stacked(named, ("w1", "w2", "w3"), self.config, "num_local_experts", "num_experts"))
        )
