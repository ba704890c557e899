"""DeepSeek V2: compressed keys and values, queries compressed or not, experts behind the first block, scaled rotary embeddings."""

from __future__ import annotations

from typing import Any

from . import Case
from .glm4_moe import experts
from .mistral import Shapes, changed

YARN = {
    "type": "yarn",
    "factor": 4,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
}
CONFIG: dict[str, Any] = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "model_type": "deepseek_v2",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 48,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 24,
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "topk_method": "greedy",
    "scoring_func": "softmax",
    "norm_topk_prob": False,
    "routed_scaling_factor": 1.0,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "rope_scaling": YARN,
    "tie_word_embeddings": False,
    "bos_token_id": 277,
    "eos_token_id": 278,
}


def shapes(config: dict[str, Any], *, tied: bool = False, biased: bool = False) -> Shapes:
    """`biased`: with the bias by which experts are chosen."""
    hidden, forward, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    rank, compressed, turned = config["q_lora_rank"], config["kv_lora_rank"], config["qk_rope_head_dim"]
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    found: Shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    if not tied:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}"
        found[f"{stem}.input_layernorm.weight"] = found[f"{stem}.post_attention_layernorm.weight"] = (hidden,)
        queries = heads * (nope + turned)
        attention = {
            "kv_a_proj_with_mqa": (compressed + turned, hidden),
            "kv_a_layernorm": (compressed,),
            "kv_b_proj": (heads * (nope + value), compressed),
            "o_proj": (hidden, heads * value),
        }
        if rank is None:
            attention["q_proj"] = (queries, hidden)
        else:
            attention |= {"q_a_proj": (rank, hidden), "q_a_layernorm": (rank,), "q_b_proj": (queries, rank)}
        found |= {f"{stem}.self_attn.{name}.weight": shape for name, shape in attention.items()}
        if block < config["first_k_dense_replace"]:
            parts = {"gate_proj": (forward, hidden), "up_proj": (forward, hidden), "down_proj": (hidden, forward)}
            found |= {f"{stem}.mlp.{name}.weight": shape for name, shape in parts.items()}
        else:
            made = experts(config, stem)
            found |= {name: shape for name, shape in made.items() if biased or not name.endswith("_bias")}
    return found


LITE: dict[str, Any] = {
    **CONFIG, "num_hidden_layers": 27, "first_k_dense_replace": 26, "q_lora_rank": None, "hidden_size": 32, "vocab_size": 280,
    "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2,
}  # fmt: skip
FEW = changed(
    CONFIG,
    {"rope_scaling": None, "rms_norm_eps": ..., "n_group": None, "topk_group": None, "first_k_dense_replace": 0,
     "routed_scaling_factor": 16.0, "num_hidden_layers": 1, "tie_word_embeddings": True},
)  # fmt: skip

CASES = {
    "scaled rotary embeddings": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", newer=True),
    "Lite, queries not compressed, f16 in shards": Case(LITE, shapes(LITE), dtype="f16", shards=2, tokenizer="byte pairs", newer=True),
    "tied with an output, f32": Case(FEW, shapes(FEW), dtype="f32", tokenizer="byte pairs"),
}  # fmt: skip
