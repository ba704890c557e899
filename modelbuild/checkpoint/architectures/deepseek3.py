"""DeepSeek V3, V3.1 and R1, Kimi K2, Moonlight: as V2, with experts that are chosen by a sigmoid and a bias."""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.architectures.deepseek2 import DeepseekV2


class DeepseekV3(DeepseekV2):
    """(llama.cpp conversion/deepseek.py, DeepseekV2Model)"""

    CLASSES = ("DeepseekV3ForCausalLM",)
    MODEL_TYPE = "deepseek_v3"
    DEFAULTS = {
        "vocab_size": 129280,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "n_shared_experts": 1,
        "n_routed_experts": 256,
        "routed_scaling_factor": 2.5,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "qk_nope_head_dim": 128,
        "n_group": 8,
        "topk_group": 4,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "norm_topk_prob": True,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "rope_theta": 10000.0,
    }

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, DeepseekV3Config) It knows only one way to choose experts, and does not write it."""
        return {"head_dim": config["qk_rope_head_dim"], "scoring_func": "sigmoid", **config}
