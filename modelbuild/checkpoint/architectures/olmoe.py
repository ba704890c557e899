"""OLMoE: experts, and norms over all queries and all keys of a block."""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.architectures._loads import EMBEDDING
from modelbuild.checkpoint.architectures.qwen3_moe import Qwen3Moe
from modelbuild.checkpoint.config import with_key_heads
from modelbuild.checkpoint.hyperparameters import base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.tensors.formats.gguf import encode_value

EPSILON = 1e-5
"""That of its norms, whatever the configuration says (OlmoeModel.set_gguf_parameters)."""


class Olmoe(Qwen3Moe):
    """(llama.cpp conversion/olmo.py, OlmoeModel)"""

    NAME = "olmoe"
    LOADS = f"""
        {EMBEDDING}
        output                    embd vocab
        blk.N.attn_norm           embd
        blk.N.qkv                 embd values values
        blk.N.attn_output         embd embd
        blk.N.attn_q_norm         embd
        blk.N.attn_k_norm         embd
        blk.N.ffn_norm            embd
        blk.N.ffn_gate_inp        embd experts
        blk.N.ffn_gate_exps       embd ff experts
        blk.N.ffn_down_exps       ff embd experts
        blk.N.ffn_up_exps         embd ff experts
    """
    CLASSES = ("OlmoeForCausalLM",)
    MODEL_TYPE = "olmoe"
    DEFAULTS = {
        "vocab_size": 50304,
        "hidden_size": 2048,
        "intermediate_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "num_key_value_heads": None,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "num_experts_per_tok": 8,
        "num_experts": 64,
    }
    SHAPES = """
        blk.N.attn_q_norm         embd
        blk.N.attn_k_norm         embd
    """
    NEEDED = ("output.weight",)
    FREE_HEADS = False

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, OlmoeConfig)"""
        return with_key_heads(config)

    def parameters(self, file_type: int) -> Values:
        epsilon = {f"{self.NAME}.attention.layer_norm_rms_epsilon": encode_value("f32", EPSILON)}
        return base_parameters(self.NAME, self.config, file_type) | epsilon
