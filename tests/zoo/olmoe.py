"""OLMoE: experts, as many heads of keys as of queries, norms over all of them."""

from __future__ import annotations

from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense
from .olmo2 import keeping
from .qwen2_moe import with_experts

CONFIG: dict[str, Any] = {
    "architectures": ["OlmoeForCausalLM"],
    "model_type": "olmoe",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": False,
    "clip_qkv": None,
    "eos_token_id": 6,
    "pad_token_id": 1,
}


def shapes(config: dict[str, Any]) -> Shapes:
    full = {"intermediate_size": 2048, "num_experts": 64, **config}
    hidden = full["hidden_size"]
    found = with_experts(dense(full), full["num_experts"], full["intermediate_size"], hidden)
    for block in range(full["num_hidden_layers"]):
        for part in "qk":
            found[f"model.layers.{block}.self_attn.{part}_norm.weight"] = (hidden,)
    return found


FEW = keeping(CONFIG, "vocab_size", "hidden_size", "num_hidden_layers", "num_experts", "intermediate_size") | {
    "num_attention_heads": 4,
    "num_experts_per_tok": 3,
}
EIGHT = changed(
    CONFIG, {"num_experts": 8, "hidden_size": 40, "rms_norm_eps": 1e-6, "clip_qkv": 30.0, "num_hidden_layers": 1}
)

CASES = {
    "four experts": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "eight experts, rows of 40, f32": Case(EIGHT, shapes(EIGHT), dtype="f32", tokenizer="byte pairs", logits=False),
    "few keys, f16 in shards": Case(FEW, shapes(FEW), dtype="f16", shards=3, tokenizer="byte pairs"),
}
