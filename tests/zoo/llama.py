"""Llama: shards, tied embeddings, biases, rotary scalings, leftovers, vocabularies of several kinds."""

from __future__ import annotations

from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def case(
    changes: dict[str, Any] | None = None, *, tied: bool = False, more: dict[str, tuple[int, ...]] | None = None, **options: Any
) -> Case:  # fmt: skip
    """`changes` of the configuration; `...` leaves a key out."""
    config = {key: value for key, value in {**CONFIG, **(changes or {})}.items() if value is not ...}
    hidden, forward, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head, kv = config.get("head_dim") or hidden // heads, config.get("num_key_value_heads") or heads
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}"
        for name, rows, columns in (
            ("self_attn.q_proj", heads * head, hidden),
            ("self_attn.k_proj", kv * head, hidden),
            ("self_attn.v_proj", kv * head, hidden),
            ("self_attn.o_proj", hidden, heads * head),
            ("mlp.gate_proj", forward, hidden),
            ("mlp.up_proj", forward, hidden),
            ("mlp.down_proj", hidden, forward),
        ):
            shapes[f"{stem}.{name}.weight"] = (rows, columns)
            if config.get("attention_bias" if "attn" in name else "mlp_bias"):
                shapes[f"{stem}.{name}.bias"] = (rows,)
        shapes[f"{stem}.input_layernorm.weight"] = shapes[f"{stem}.post_attention_layernorm.weight"] = (hidden,)
    shapes["model.norm.weight"] = (hidden,)
    if not tied:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return Case(config, {**shapes, **(more or {})}, **options)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}

LEFT_OVER = {f"model.layers.{block}.self_attn.rotary_emb.inv_freq": (8,) for block in range(2)}

CASES = {
    "bf16": case(),
    "f16, tied": case({"tie_word_embeddings": True}, tied=True, dtype="f16"),
    "f32": case(dtype="f32"),
    "12 blocks in shards": case({"num_hidden_layers": 12}, shards=4),
    "tied, with an output": case({"tie_word_embeddings": True}, logits=False),
    "biases": case({"attention_bias": True, "mlp_bias": True}),
    "one key-value head, a head size of its own": case({"num_key_value_heads": 1, "head_dim": 32}),
    "few keys": case(
        dict.fromkeys(("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "bos_token_id", "eos_token_id"), ...)
    ),
    "another spelling of the class": case({"architectures": ["LLaMAForCausalLM"]}),
    "byte pairs": case({"bos_token_id": 276, "eos_token_id": 278}, tokenizer="byte pairs", dtype="f32"),
    "llama3 scaling": case({"rope_scaling": LLAMA3, "rope_theta": 500000.0, "head_dim": 32}),
    "linear scaling": case({"rope_scaling": {"type": "linear", "factor": 2.0}}),
    "dynamic scaling": case({"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "yarn": case({"rope_scaling": YARN}, logits=False),
    "yarn with all its factors": case(
        {"rope_scaling": {**YARN, "attention_factor": 1.5, "beta_fast": 16.0, "beta_slow": 2.0, "extrapolation_factor": 0.5}}, logits=False
    ),
    "rotary frequencies left over": case(more=LEFT_OVER, dtypes=dict.fromkeys(LEFT_OVER, "f32")),
    "rows of 40": case({"hidden_size": 80, "intermediate_size": 104, "num_attention_heads": 5, "num_key_value_heads": 5}),
    "norms in f32": case(dtypes={"model.norm.weight": "f32", "model.layers.0.input_layernorm.weight": "f32"}),
    "Llama 2": case({"vocab_size": 32000}, tokenizer="llama-2"),
    "Llama 2, padded": case({"vocab_size": 32064}, tokenizer="llama-2, tokenizer.model"),
    "Llama 3.2": case(
        {
            "vocab_size": 128256, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "hidden_size": 32,
            "num_attention_heads": 2, "num_key_value_heads": 1, "rope_scaling": LLAMA3, "rope_theta": 500000.0,
            "tie_word_embeddings": True,
        },
        tied=True, tokenizer="llama-3.2",
    ),
}  # fmt: skip
