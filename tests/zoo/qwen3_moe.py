"""Qwen3 with experts: 4, 8 and 128 of them, apart or stacked already, in shards."""

from __future__ import annotations

from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 192,
    "moe_intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}


def shapes(config: dict[str, Any], *, tied: bool = False, stacked: bool = False) -> dict[str, tuple[int, ...]]:
    hidden, forward, heads = (
        config["hidden_size"],
        config["moe_intermediate_size"],
        config.get("num_attention_heads", 32),
    )
    head, kv = config.get("head_dim") or hidden // heads, config.get("num_key_value_heads", 4)
    experts = config.get("num_experts", 128)
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not tied:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}"
        found |= {
            f"{stem}.input_layernorm.weight": (hidden,),
            f"{stem}.post_attention_layernorm.weight": (hidden,),
            f"{stem}.self_attn.q_norm.weight": (head,),
            f"{stem}.self_attn.k_norm.weight": (head,),
            f"{stem}.self_attn.q_proj.weight": (heads * head, hidden),
            f"{stem}.self_attn.k_proj.weight": (kv * head, hidden),
            f"{stem}.self_attn.v_proj.weight": (kv * head, hidden),
            f"{stem}.self_attn.o_proj.weight": (hidden, heads * head),
            f"{stem}.mlp.gate.weight": (experts, hidden),
        }
        if stacked:
            found[f"{stem}.mlp.experts.gate_up_proj"] = (experts, 2 * forward, hidden)
            found[f"{stem}.mlp.experts.down_proj"] = (experts, hidden, forward)
            continue
        for expert in range(experts):
            found |= {
                f"{stem}.mlp.experts.{expert}.gate_proj.weight": (forward, hidden),
                f"{stem}.mlp.experts.{expert}.up_proj.weight": (forward, hidden),
                f"{stem}.mlp.experts.{expert}.down_proj.weight": (hidden, forward),
            }
    return found


FEW = {
    key: CONFIG[key]
    for key in ("architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
}
# The runtime makes the sum of the chosen experts' weights one, whatever norm_topk_prob says.
FEW |= {"moe_intermediate_size": 32, "head_dim": 16, "norm_topk_prob": True}
FOUR = {**CONFIG, "num_experts": 4, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 0}
del FOUR["head_dim"]
TWELVE = {**CONFIG, "num_experts": 4, "num_hidden_layers": 12, "moe_intermediate_size": 32}
FP8 = {
    **CONFIG,
    "hidden_size": 160,
    "num_experts": 4,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
}


def scaled(shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The shapes with those of scales, and which of them are fp8."""
    names = [name for name, shape in shapes.items() if "_proj" in name and len(shape) == 2]
    scales = {f"{name}_scale_inv": tuple(-(-extent // 128) for extent in shapes[name]) for name in names}
    return {**shapes, **scales}, dict.fromkeys(names, "f8_e4m3")


CASES = {
    "eight experts": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "four experts, tied, rows of 40, f32": Case(
        {**FOUR, "tie_word_embeddings": True}, shapes(FOUR, tied=True), dtype="f32", tokenizer="byte pairs"
    ),
    "128 experts, few keys, in shards, f16": Case(FEW, shapes(FEW), dtype="f16", shards=3, tokenizer="byte pairs"),
    "twelve blocks of four experts, in shards": Case(TWELVE, shapes(TWELVE), shards=5, tokenizer="byte pairs"),
    "eight experts, stacked": Case(CONFIG, shapes(CONFIG, stacked=True), tokenizer="byte pairs", logits=False),
    "four experts, stacked, with suffixes, f16": Case(
        {**FOUR, "head_dim": None},
        {f"{name.removesuffix('.weight')}.weight": shape for name, shape in shapes(FOUR, stacked=True).items()},
        dtype="f16",
        shards=2,
        tokenizer="byte pairs",
        logits=False,
    ),
    "four experts in fp8": Case(
        FP8, scaled(shapes(FP8))[0], dtypes=scaled(shapes(FP8))[1], tokenizer="byte pairs", logits=False
    ),
}
