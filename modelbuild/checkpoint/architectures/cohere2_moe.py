"""Cohere 2 with experts: the first blocks may lack them; experts that all tokens share; blocks for the prediction of several tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.architectures import Architecture, _mtp
from modelbuild.checkpoint.architectures._experts import gated, has_part, leading
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.architectures.cohere import scaled_logits, unscaled
from modelbuild.checkpoint.architectures.cohere2 import unbiased
from modelbuild.checkpoint.config import block_count, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

_PARTS = ("gate_proj", "up_proj", "down_proj")
LIMIT = 16
"""Blocks for further tokens; real models have one."""


class Cohere2Moe(Architecture):
    """(llama.cpp conversion/command_r.py, Cohere2MoeModel)"""

    NAME = "cohere2moe"
    LOADS = f"""
        {EMBEDDING} {OUTPUT}
        blk.N.attn_norm                   embd
        blk.N.qkv                         queries values values
        blk.N.attn_output                 queries embd
        first blk.N.ffn_gate              embd ff
        first blk.N.ffn_up                embd ff
        first blk.N.ffn_down              ff embd
        later blk.N.ffn_gate_inp          embd experts
        later blk.N.ffn_gate_exps?        embd ff_exp experts
        later blk.N.ffn_up_exps?          embd ff_exp experts
        later blk.N.ffn_down_exps         ff_exp embd experts
        later blk.N.ffn_gate_shexp?       embd ff_shexp
        later blk.N.ffn_up_shexp?         embd ff_shexp
        later blk.N.ffn_down_shexp?       ff_shexp embd
    """
    CLASSES = ("Cohere2MoeForCausalLM",)
    NAMES = {
        **{name: known for name, known in NAMES.items() if name != "layers.N.post_attention_layernorm"},
        "layers.N.mlp.gate": "blk.N.ffn_gate_inp",
        **{f"layers.N.mlp.experts.{part}": f"blk.N.ffn_{part[:-5]}_exps" for part in _PARTS},
        **{f"layers.N.mlp.shared_experts.{part}": f"blk.N.ffn_{part[:-5]}_shexp" for part in _PARTS},
        **_mtp.NAMES,
        "layers.N.embed_tokens": "blk.N.nextn.embed_tokens",
        "layers.N.shared_head.head": "blk.N.nextn.shared_head_head",
    }
    SHAPES = _mtp.SHAPES
    OPTIONAL = r"output|blk\.N\.nextn\.(embed_tokens|shared_head_head|shared_head_norm)"
    # Which blocks have which, `has` says of each.
    EXPERTS_BESIDE = True
    BIASES = r"(?!)"
    ASKS = ("attention.sliding_window", "logit_scale", "leading_dense_block_count", "expert_feed_forward_length")

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    @property
    def dense(self) -> int:
        """How many blocks come before those with experts."""
        return leading(self.config, block_count(self.config), "first_k_dense_replace")

    @cached_property
    def further(self) -> int:
        """How many blocks for further tokens the file has."""
        own, count = block_count(self.config), self.config.get("num_nextn_predict_layers") or 0
        if type(count) is not int or not 0 <= count <= LIMIT:
            raise Error(
                f"'num_nextn_predict_layers' expects a whole number from 0 to {LIMIT}, got {in_json(count)}",
                path="config.json",
            )
        return count if any(name.startswith(f"model.layers.{own}.") for name in self.checkpoint.tensors) else 0

    @property
    def blocks(self) -> range:
        return range(block_count(self.config) + self.further)

    def has(self, stem: str, block: int) -> bool:
        if ".nextn." in stem:
            return block >= block_count(self.config)
        if stem.endswith("_shexp") and not self.config.get("num_shared_experts"):
            return False
        found = has_part(stem, experts=block >= self.dense)
        return super().has(stem, block) if found is None else found

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        return {"ff_exp": (number(self.config, "intermediate_size"), "intermediate_size")}

    def parameters(self, file_type: int) -> Values:
        """(Cohere2MoeModel.set_gguf_parameters)"""
        config, width = self.config, number(self.config, "intermediate_size")
        values = super().parameters(file_type) | {f"{self.NAME}.block_count": encode_value("u32", self.blocks.stop)}
        out = Writer(self.NAME, config)
        out.put("attention.sliding_window", "u32", number(config, "sliding_window"), "sliding_window")
        out.values[f"{self.NAME}.attention.sliding_window_pattern"] = encode_value("[bool]", self.windowed)
        out.put("vocab_size", "u32", number(config, "vocab_size"), "vocab_size")
        out.put("expert_feed_forward_length", "u32", width, "intermediate_size")
        out.put("leading_dense_block_count", "u32", self.dense, "first_k_dense_replace")
        out.put("expert_weights_norm", "bool", config.get("norm_topk_prob", False), "norm_topk_prob")
        if config.get("num_shared_experts"):
            shared, strategy = number(config, "num_shared_experts"), "shared_expert_combination_strategy"
            if config.get(strategy, "average") != "average":
                raise Error(
                    f"'{strategy}' expects 'average', which is all that llama.cpp's runtime knows, got {in_json(config[strategy])}",
                    path="config.json",
                )
            out.put("expert_shared_count", "u32", shared, "num_shared_experts")
            out.put("expert_shared_feed_forward_length", "u32", width * shared, "num_shared_experts")
        out.put("nextn_predict_layers", "u32", self.further or None, "num_nextn_predict_layers")
        out.put("rope.dimension_count", "u32", number(config, "head_dim"), "head_dim")
        return values | scaled_logits(self.NAME, config) | out.values | unscaled(self.NAME)

    @property
    def windowed(self) -> list[bool]:
        """Which blocks see a window of the text. Raises Error where config.json does not tell of each."""
        types, blocks = self.config.get("layer_types"), block_count(self.config)
        if not isinstance(types, list) or len(types) != blocks:
            got = f"a list of {len(types)}" if isinstance(types, list) else in_json(types)
            raise Error(
                f"'layer_types' expects a list with one text for each of {blocks} blocks, got {got}", path="config.json"
            )
        return [each == "sliding_attention" for each in types]

    def doubts(self) -> Iterator[Error]:
        """What the runtime computes otherwise (llama.cpp src/models/cohere2moe.cpp), or finds nowhere."""
        config = self.config
        if config.get("expert_selection_fn") == "softmax" and not config.get("norm_topk_prob"):
            yield Error(
                "llama.cpp's runtime weighs the chosen experts of such a model as a part of all, and transformers as a whole: "
                "its answers would be wrong",
                path="config.json",
                facts=[("config.json", "expert_selection_fn softmax, norm_topk_prob false")],
            )
        if self.dense and config.get("prefix_dense_sliding_window_pattern", 1) != 1:
            yield Error(
                "llama.cpp's runtime turns queries and keys in every block without experts, and this model was trained otherwise: "
                "its answers would be wrong",
                path="config.json",
                facts=[("prefix_dense_sliding_window_pattern", in_json(config["prefix_dense_sliding_window_pattern"]))],
            )
        if config.get("num_nextn_predict_layers") and not self.further:
            yield Error(
                "config.json declares blocks for the prediction of several tokens (num_nextn_predict_layers), but the checkpoint has "
                "none: the model is made without them",
                path="config.json",
                hint="this is usual after training; the model that it was trained from may have them",
            )

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(Cohere2MoeModel.modify_tensors)"""
        for source, x in gated(unbiased(sources, self.checkpoint), self.config):
            yield self.rename(source), x
