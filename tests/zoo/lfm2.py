"""LFM2: blocks with a short convolution and with attention, feed forward of a size that is reckoned, the text part of models that see."""

from __future__ import annotations

import json
from typing import Any

from . import Case
from .mistral import Shapes, changed

CONFIG: dict[str, Any] = {
    "architectures": ["Lfm2ForCausalLM"],
    "model_type": "lfm2",
    "vocab_size": 280,
    "hidden_size": 64,
    "block_ff_dim": 96,
    "block_auto_adjust_ff_dim": False,
    "block_ffn_dim_multiplier": 1.0,
    "block_multiple_of": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "norm_eps": 1e-5,
    "rope_theta": 1000000.0,
    "conv_L_cache": 3,
    "conv_bias": False,
    "layer_types": ["conv", "conv", "full_attention", "conv"],
    "tie_embedding": True,
}


def shapes(
    config: dict[str, Any],
    forward: int,
    attention: tuple[int, ...] = (2,),
    *,
    tied: bool = True,
    prefix: str = "model.",
) -> Shapes:
    hidden, heads, shared = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    head = hidden // heads
    found: Shapes = {"embed_tokens.weight": (config["vocab_size"], hidden), "embedding_norm.weight": (hidden,)}
    for block in range(config["num_hidden_layers"]):
        stem = f"layers.{block}."
        found |= {
            f"{stem}operator_norm.weight": (hidden,),
            f"{stem}ffn_norm.weight": (hidden,),
            f"{stem}feed_forward.w1.weight": (forward, hidden),
            f"{stem}feed_forward.w2.weight": (hidden, forward),
            f"{stem}feed_forward.w3.weight": (forward, hidden),
        }
        if block in attention:
            found |= {
                f"{stem}self_attn.q_proj.weight": (heads * head, hidden),
                f"{stem}self_attn.k_proj.weight": (shared * head, hidden),
                f"{stem}self_attn.v_proj.weight": (shared * head, hidden),
                f"{stem}self_attn.out_proj.weight": (hidden, heads * head),
                f"{stem}self_attn.q_layernorm.weight": (head,),
                f"{stem}self_attn.k_layernorm.weight": (head,),
            }
        else:
            found |= {
                f"{stem}conv.conv.weight": (hidden, 1, config.get("conv_L_cache", 3)),
                f"{stem}conv.in_proj.weight": (3 * hidden, hidden),
                f"{stem}conv.out_proj.weight": (hidden, hidden),
            }
    named = {prefix + name: shape for name, shape in found.items()}
    return named if tied else {**named, "lm_head.weight": (config["vocab_size"], hidden)}


ADJUSTED = changed(
    {
        **CONFIG, "block_auto_adjust_ff_dim": True, "block_ffn_dim_multiplier": 1.3, "full_attn_idxs": [1], "theta": 10000.0,
        "num_hidden_layers": 2,
    },
    {"layer_types": ..., "max_position_embeddings": ..., "conv_L_cache": ..., "norm_eps": ..., "rope_theta": ...},
)  # fmt: skip
TODAY = changed(
    {
        **CONFIG,
        "intermediate_size": 96,
        "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
        "tie_word_embeddings": False,
    },
    {"block_ff_dim": ..., "rope_theta": ..., "tie_embedding": ...},
)
SEEING = {
    "architectures": ["Lfm2VlForConditionalGeneration"],
    "model_type": "lfm2-vl",
    "text_config": CONFIG,
    "vision_config": {"model_type": "siglip2_vision_model", "hidden_size": 16, "num_hidden_layers": 1},
}
HEADLESS = {**CONFIG, "architectures": ["Lfm2BidirectionalModel"]}

CASES = {
    "bf16": Case(CONFIG, shapes(CONFIG, 96), tokenizer="byte pairs"),
    # 1.3 * (2 * 96 / 3), rounded up to a multiple of 32.
    "adjusted, few keys, f16": Case(ADJUSTED, shapes(ADJUSTED, 96, (1,)), dtype="f16", tokenizer="byte pairs"),
    "as transformers 5 saves it, untied, f32 in shards": Case(
        TODAY, shapes(TODAY, 96, tied=False), dtype="f32", shards=2, tokenizer="byte pairs", newer=True
    ),
    "of one that sees": Case(
        SEEING,
        shapes(CONFIG, 96, prefix="model.language_model.") | {"model.vision_tower.vision_model.post_layernorm.weight": (16,)},
        tokenizer="byte pairs",
        logits=False,
    ),
    "of one that sees, by the name of transformers 5": Case(
        {**SEEING, "model_type": "lfm2_vl"},
        shapes(CONFIG, 96, prefix="model.language_model."),
        tokenizer="byte pairs",
        logits=False,
    ),
    "embeddings": Case(
        {**CONFIG, "architectures": ["Lfm2Model"]}, shapes(CONFIG, 96, prefix=""), tokenizer="byte pairs", logits=False
    ),
    "embeddings, both ways": Case(
        HEADLESS,
        shapes(CONFIG, 96, prefix=""),
        tokenizer="byte pairs",
        files={
            "modules.json": json.dumps([{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]),
            "1_Pooling/config.json": json.dumps({"pooling_mode_cls_token": True}),
        },
        logits=False,
    ),
}  # fmt: skip
