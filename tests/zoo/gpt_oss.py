"""GPT-OSS: experts in MXFP4 and in floats, biases of one and two dimensions, sinks, windows, yarn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "head_dim": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "experts_per_token": 2,
    "max_position_embeddings": 4096,
    "initial_context_length": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 150000,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "original_max_position_embeddings": 128,
        "rope_type": "yarn",
        # Published ones say False, which the runtime does not know, and which tells in heads as small as these.
        "truncate": True,
    },
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 32,
    "attention_bias": True,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "eos_token_id": 278,
    "quantization_config": {
        "modules_to_not_convert": [
            "model.layers.*.self_attn",
            "model.layers.*.mlp.router",
            "model.embed_tokens",
            "lm_head",
        ],
        "quant_method": "mxfp4",
    },
}


def case(changes: Mapping[str, Any] | None = None, *, packed: bool = True, tied: bool = False, **options: Any) -> Case:
    config = {key: value for key, value in {**CONFIG, **(changes or {})}.items() if value is not ...}
    full = {**CONFIG, "num_key_value_heads": 8, "head_dim": 64, **config}
    hidden, forward, experts = full["hidden_size"], full["intermediate_size"], full["num_local_experts"]
    heads = full["num_attention_heads"]
    keys, head = full["num_key_value_heads"] or heads, full["head_dim"] or hidden // heads
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (full["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not tied:
        found["lm_head.weight"] = (full["vocab_size"], hidden)
    dtypes = {}
    for block in range(full["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        found[f"{stem}input_layernorm.weight"] = found[f"{stem}post_attention_layernorm.weight"] = (hidden,)
        for name, rows, columns in (
            ("self_attn.q_proj", heads * head, hidden),
            ("self_attn.k_proj", keys * head, hidden),
            ("self_attn.v_proj", keys * head, hidden),
            ("self_attn.o_proj", hidden, heads * head),
            ("mlp.router", experts, hidden),
        ):
            found[f"{stem}{name}.weight"] = (rows, columns)
            found[f"{stem}{name}.bias"] = (rows,)
        found[f"{stem}self_attn.sinks"] = (heads,)
        for name, rows, columns in (("gate_up", 2 * forward, hidden), ("down", hidden, forward)):
            part = f"{stem}mlp.experts.{name}_proj"
            found[f"{part}_bias"] = (experts, rows)
            if packed:
                found[f"{part}_blocks"] = (experts, rows, columns // 32, 16)
                found[f"{part}_scales"] = (experts, rows, columns // 32)
                dtypes[f"{part}_blocks"] = dtypes[f"{part}_scales"] = "u8"
            else:
                found[part] = (experts, columns, rows)
    # In the order of names: the converter takes the blocks it saw last for those of the next scales, whatever their names.
    found = dict(sorted(found.items()))
    return Case(config, found, dtypes=dtypes, tokenizer="byte pairs", **options)


FLOATS: dict[str, Any] = {"quantization_config": ...}
FILLED = (
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "layer_types",
    "sliding_window", "num_experts_per_tok", "experts_per_token",
)  # fmt: skip
"""What transformers fills in."""

CASES = {
    # With all experts at work, none is chosen otherwise because the runtime rounds what MXFP4 is multiplied with.
    "mxfp4": case({"num_experts_per_tok": 4, "experts_per_token": 4}),
    "mxfp4, eight experts, f32": case(
        {"num_local_experts": 8, "num_hidden_layers": 1, "layer_types": ["full_attention"]}, dtype="f32", logits=False
    ),
    "mxfp4, tied, f16": case(tied=True, dtype="f16", logits=False),
    "mxfp4, unsaid": case(FLOATS, logits=False),
    "mxfp4, 12 blocks in shards": case({"num_hidden_layers": 12, "layer_types": ...}, shards=5, logits=False),
    "bf16": case(FLOATS, packed=False),
    "f16": case(FLOATS, packed=False, dtype="f16", logits=False),
    "f32, called mxfp4": case(packed=False, dtype="f32", logits=False),
    "rows of 48": case(
        {**FLOATS, "hidden_size": 48, "num_hidden_layers": 1, "layer_types": ...}, packed=False, logits=False
    ),
    "few keys": case({**dict.fromkeys(FILLED, ...), "num_attention_heads": 8}, logits=False),
    "keys of null": case(
        dict.fromkeys(("num_key_value_heads", "head_dim", "rope_scaling", "layer_types")), logits=False
    ),
    "linear scaling": case({"rope_scaling": {"type": "linear", "factor": 4.0}}, logits=False),
    "half a rope_scaling": case({"rope_scaling": {"rope_type": "yarn"}, "head_dim": ...}, logits=False),
    "too many layer_types": case(
        {"layer_types": ["full_attention"] * 3, "head_dim": ..., "rope_scaling": ...}, logits=False
    ),
}
