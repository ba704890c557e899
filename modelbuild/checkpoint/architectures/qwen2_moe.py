"""Qwen1.5 and Qwen2 with experts, and one that all tokens share, which has a gate of its own."""

from __future__ import annotations

from modelbuild.checkpoint.architectures._loads import EMBEDDING
from modelbuild.checkpoint.architectures.qwen3_moe import Qwen3Moe


class Qwen2Moe(Qwen3Moe):
    """(llama.cpp conversion/qwen.py, Qwen2MoeModel) Each head turns as those of Qwen3 do, and none has a norm."""

    NAME = "qwen2moe"
    LOADS = f"""
        {EMBEDDING}
        output                        embd vocab
        blk.N.attn_norm               embd
        blk.N.qkv                     embd values values
        blk.N.attn_output             embd embd
        blk.N.ffn_norm                embd
        blk.N.ffn_gate_inp            embd experts
        blk.N.ffn_gate_exps           embd ff_exp experts
        blk.N.ffn_down_exps           ff_exp embd experts
        blk.N.ffn_up_exps             embd ff_exp experts
        blk.N.ffn_gate_inp_shexp      embd
        shared blk.N.ffn_gate_shexp   embd ff_shexp
        shared blk.N.ffn_down_shexp   ff_shexp embd
        shared blk.N.ffn_up_shexp     embd ff_shexp
    """
    CLASSES = ("Qwen2MoeForCausalLM",)
    MODEL_TYPE = "qwen2_moe"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts_per_tok": 4,
        "num_experts": 60,
    }
    NAMES = {
        **{name: known for name, known in Qwen3Moe.NAMES.items() if not name.endswith(("q_norm", "k_norm"))},
        "layers.N.mlp.shared_expert_gate": "blk.N.ffn_gate_inp_shexp",
        "layers.N.mlp.shared_expert.gate_proj": "blk.N.ffn_gate_shexp",
        "layers.N.mlp.shared_expert.up_proj": "blk.N.ffn_up_shexp",
        "layers.N.mlp.shared_expert.down_proj": "blk.N.ffn_down_shexp",
    }
    SHAPES = """
        blk.N.ffn_gate_inp_shexp      embd
    """
    NEEDED = (
        "output.weight",
        *(f"blk.N.ffn_{part}_shexp.weight" for part in ("gate_inp", "gate", "up", "down")),
    )
    FREE_HEADS = False
