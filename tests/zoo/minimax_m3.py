"""MiniMax M3: blocks without experts before the others, shared experts, attention that is chosen, norms that are stored minus one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense

TEXT: dict[str, Any] = {
    "model_type": "minimax_m3_vl_text",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 32,
    "dense_intermediate_size": 96,
    "shared_intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rotary_dim": 16,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 5000000,
    "scoring_func": "sigmoid",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "routed_scaling_factor": 2.0,
    "moe_layer_freq": [0, 1, 1],
    "sparse_attention_config": {
        "sparse_num_index_heads": 2,
        "sparse_index_dim": 32,
        "sparse_topk_blocks": 16,
        "sparse_block_size": 128,
        "sparse_local_block": 1,
        "sparse_attention_freq": [0, 1, 1],
    },
    "tie_word_embeddings": False,
}


def config(text: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["MiniMaxM3SparseForConditionalGeneration"],
        "model_type": "minimax_m3_vl",
        "text_config": dict(text),
        "vision_config": {"model_type": "minimax_m3_vl_vision", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
        "tie_word_embeddings": False,
    }  # fmt: skip


def shapes(text: Mapping[str, Any], prefix: str = "") -> Shapes:
    hidden, width, experts = text["hidden_size"], text["intermediate_size"], text["num_local_experts"]
    sac, head = text["sparse_attention_config"], text["head_dim"]
    found: Shapes = {}
    for name, shape in dense({**text, "intermediate_size": text["dense_intermediate_size"]}).items():
        block = name.split(".")[2] if ".layers." in name else ""
        if ".mlp." not in name or not text["moe_layer_freq"][int(block)]:
            found[name] = shape
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            found[name.replace("_proj", "_norm")] = (head,)
    for number, sparse in enumerate(text["moe_layer_freq"]):
        stem = f"model.layers.{number}."
        if not sparse:
            continue
        moe, index = f"{stem}block_sparse_moe.", f"{stem}self_attn.index_"
        found[f"{moe}gate.weight"] = (experts, hidden)
        found[f"{moe}e_score_correction_bias"] = (experts,)
        for expert in range(experts):
            found[f"{moe}experts.{expert}.w1.weight"] = found[f"{moe}experts.{expert}.w3.weight"] = (width, hidden)
            found[f"{moe}experts.{expert}.w2.weight"] = (hidden, width)
        wide = width * text["n_shared_experts"]
        for part in ("gate_proj", "up_proj"):
            found[f"{moe}shared_experts.{part}.weight"] = (wide, hidden)
        found[f"{moe}shared_experts.down_proj.weight"] = (hidden, wide)
        found[f"{index}q_proj.weight"] = (sac["sparse_num_index_heads"] * sac["sparse_index_dim"], hidden)
        found[f"{index}k_proj.weight"] = (sac["sparse_index_dim"], hidden)
        found[f"{index}q_norm.weight"] = found[f"{index}k_norm.weight"] = (sac["sparse_index_dim"],)
    return {f"{prefix}{name}": shape for name, shape in found.items()}


TOWER = {"vision_tower.vision_model.pre_layrnorm.weight": (32,), "multi_modal_projector.linear_1.weight": (32, 32)}
EIGHT = changed(TEXT, {"num_local_experts": 8, "num_experts_per_tok": 3, "moe_layer_freq": [0, 0, 1], "rotary_dim": 32})
ALONE = {
    **changed(TEXT, {"moe_layer_freq": [1, 1], "num_hidden_layers": 2, "n_shared_experts": 2, "shared_intermediate_size": 64}),
    "architectures": ["MiniMaxM3SparseForCausalLM"], "model_type": "minimax_m3",
}  # fmt: skip

CASES = {
    "the text of one that sees": Case(
        config(TEXT), {**shapes(TEXT, "language_model."), **TOWER}, tokenizer="byte pairs", logits=False
    ),
    "eight experts, two dense blocks, f32": Case(
        config(EIGHT), shapes(EIGHT, "language_model."), dtype="f32", tokenizer="byte pairs", newer=True
    ),
    "alone, f16 in shards": Case(ALONE, shapes(ALONE), dtype="f16", tokenizer="byte pairs", shards=2, logits=False),
}  # fmt: skip
