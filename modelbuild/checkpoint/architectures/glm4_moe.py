"""GLM-4.5, 4.6 and 4.7: experts behind the first blocks, a part of each head turns, blocks for further tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.architectures import _dense_first, _mtp, _numbered_mtp
from modelbuild.checkpoint.architectures._dense_first import SIGMOID, DenseFirst
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.architectures._numbered_mtp import NumberedMtp
from modelbuild.checkpoint.architectures.glm4 import rotated
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression

TOKENS = {"bos": "[gMASK]", "eot": "<|user|>", "unk": "<|endoftext|>", "eom": "<|observation|>"}
"""What the tokens of GLM are where no file says (TextModel._set_vocab_glm)."""


class Glm4Moe(NumberedMtp, DenseFirst):
    """(llama.cpp conversion/glm.py, Glm4MoeModel)"""

    NAME = "glm4moe"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {_dense_first.LOADS} {_mtp.LOADS}
        blk.N.attn_norm               embd
        blk.N.qkv                     queries keys values
        blk.N.attn_output             queries embd
        blk.N.attn_q_norm?            head
        blk.N.attn_k_norm?            head
        blk.N.post_attention_norm     embd
        later blk.N.exp_probs_b.bias  experts
    """
    MTP = True
    CLASSES = ("Glm4MoeForCausalLM",)
    MODEL_TYPE = "glm4_moe"
    DEFAULTS = {
        "vocab_size": 151552,
        "hidden_size": 4096,
        "intermediate_size": 10944,
        "num_hidden_layers": 46,
        "num_attention_heads": 96,
        "partial_rotary_factor": 0.5,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "moe_intermediate_size": 1408,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "n_routed_experts": 128,
        "routed_scaling_factor": 1.0,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
    }
    NAMES = {
        **NAMES,
        **_dense_first.NAMES,
        **_numbered_mtp.NAMES,
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
        "layers.N.post_attention_layernorm": "blk.N.post_attention_norm",
    }
    SHAPES = f"""
        {_dense_first.SHAPES} {_mtp.SHAPES}
        blk.N.attn_q_norm     head
        blk.N.attn_k_norm     head
    """
    BIASES = rf"{ATTENTION_INPUTS}|blk\.N\.exp_probs_b"
    OPTIONAL = rf"output|blk\.N\.attn_[qk]_norm|{_numbered_mtp.OPTIONAL}"
    NEEDED = ("blk.N.exp_probs_b.bias",)
    REQUIRED = {
        **DenseFirst.REQUIRED,
        "expert_count": "n_routed_experts",
        "expert_used_count": "num_experts_per_tok",
        "expert_feed_forward_length": "moe_intermediate_size",
        "expert_shared_count": "n_shared_experts",
    }
    ASKS = (
        *DenseFirst.ASKS, "expert_count", "expert_used_count", "expert_feed_forward_length", "expert_shared_count",
    )  # fmt: skip

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config), TOKENS)

    def parameters(self, file_type: int) -> Values:
        """(Glm4MoeModel.set_gguf_parameters)"""
        config = self.config
        out = Writer(self.NAME, config)
        out.put("rope.dimension_count", "u32", rotated(config), "partial_rotary_factor")
        out.take("expert_count", "u32", "n_routed_experts")
        out.take("expert_feed_forward_length", "u32", "moe_intermediate_size")
        out.put("expert_shared_count", "u32", self.shared, "n_shared_experts")
        out.put("leading_dense_block_count", "u32", self.dense, "first_k_dense_replace")
        out.values[f"{self.NAME}.expert_gating_func"] = encode_value("u32", SIGMOID)
        out.take("expert_weights_scale", "f32", "routed_scaling_factor")
        out.take("expert_weights_norm", "bool", "norm_topk_prob")
        return self.with_further(super().parameters(file_type) | out.values)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(Glm4MoeModel.modify_tensors)"""
        for source, x in self.stacked(sources):
            yield self.rename(source), x
