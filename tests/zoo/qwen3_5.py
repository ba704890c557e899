"""Qwen3.5: text alone and with images, heads of values in tiles, blocks for further tokens kept, dropped and alone."""

from __future__ import annotations

from typing import Any

from . import Case
from .qwen3_next import CONFIG as NEXT
from .qwen3_next import Shapes, attention, ends, is_linear, joining, linear

_OTHERS = (
    "architectures", "model_type", "moe_intermediate_size", "shared_expert_intermediate_size", "num_experts", "num_experts_per_tok",
    "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers", "rope_theta", "partial_rotary_factor",
)  # fmt: skip
ROPE = {
    "rope_type": "default",
    "rope_theta": 10000000.0,
    "partial_rotary_factor": 0.5,
    "mrope_interleaved": True,
    "mrope_section": [4, 2, 2],
}
TEXT: dict[str, Any] = {
    **{key: value for key, value in NEXT.items() if key not in _OTHERS},
    "model_type": "qwen3_5_text",
    "linear_num_value_heads": 6,
    "full_attention_interval": 4,
    "mtp_num_hidden_layers": 1,
    "rope_parameters": ROPE,
}
CONFIG = {"architectures": ["Qwen3_5ForCausalLM"], **TEXT}
SEEING = {
    "architectures": ["Qwen3_5ForConditionalGeneration"],
    "model_type": "qwen3_5",
    "image_token_id": 280,
    "text_config": TEXT,
    "vision_config": {"model_type": "qwen3_5", "depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64},
    "tie_word_embeddings": False,
}
VISION: Shapes = {
    "model.visual.patch_embed.proj.weight": (32, 3, 2, 16, 16),
    "model.visual.blocks.0.attn.qkv.weight": (96, 32),
    "model.visual.merger.linear_fc1.weight": (128, 128),
}


def forward(config: dict[str, Any], stem: str) -> Shapes:
    hidden, size = config["hidden_size"], config["intermediate_size"]
    parts = {"gate_proj": (size, hidden), "up_proj": (size, hidden), "down_proj": (hidden, size)}
    return {f"{stem}.mlp.{part}.weight": shape for part, shape in parts.items()}


def shapes(config: dict[str, Any], *, mtp: bool = True, prefix: str = "model.") -> Shapes:
    found = ends(config, tied=config["tie_word_embeddings"], prefix=prefix)
    for block in range(config["num_hidden_layers"]):
        stem = f"{prefix}layers.{block}"
        found |= linear(config, stem, apart=True) if is_linear(config, block) else attention(config, stem)
        found |= forward(config, stem)
    if mtp:
        found |= joining(config) | attention(config, "mtp.layers.0") | forward(config, "mtp.layers.0")
    return found


TWO: dict[str, Any] = {
    **CONFIG,
    "num_hidden_layers": 2,
    "linear_num_value_heads": 2,
    "layer_types": ["linear_attention", "full_attention"],
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000000.0},
}
SEEN = {**shapes(TEXT, prefix="model.language_model."), **VISION}

CASES = {
    "text": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", newer=True),
    "with images": Case(SEEING, SEEN, shards=2, dtype="f16", tokenizer="byte pairs", newer=True, logits=False),
    "two blocks, as many heads of values as of keys, tied, f32": Case(
        TWO, shapes(TWO, mtp=False), dtype="f32", tokenizer="byte pairs", newer=True, mtp="drop"
    ),
    "blocks for further tokens dropped": Case(
        SEEING, SEEN, tokenizer="byte pairs", newer=True, mtp="drop", logits=False
    ),
    "blocks for further tokens alone": Case(SEEING, SEEN, tokenizer="byte pairs", newer=True, mtp="only", logits=False),
}
