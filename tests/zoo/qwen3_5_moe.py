"""Qwen3.5 with experts: stacked in the model, apart in the blocks for further tokens, as its makers publish them."""

from __future__ import annotations

from typing import Any

from . import Case
from .qwen3_5 import ROPE, SEEING, VISION
from .qwen3_5 import TEXT as DENSE
from .qwen3_next import CONFIG as NEXT
from .qwen3_next import Shapes, attention, ends, experts, is_linear, joining, linear

TEXT: dict[str, Any] = {
    **{key: value for key, value in DENSE.items() if key != "intermediate_size"},
    **{
        key: NEXT[key]
        for key in ("moe_intermediate_size", "shared_expert_intermediate_size", "num_experts", "num_experts_per_tok")
    },
    "model_type": "qwen3_5_moe_text",
    "linear_num_value_heads": 4,
    "rope_parameters": ROPE,
}
CONFIG = {"architectures": ["Qwen3_5MoeForCausalLM"], **TEXT}


def shapes(config: dict[str, Any], *, mtp: bool = True, prefix: str = "model.") -> Shapes:
    found = ends(config, tied=config["tie_word_embeddings"], prefix=prefix)
    for block in range(config["num_hidden_layers"]):
        stem = f"{prefix}layers.{block}"
        found |= linear(config, stem, apart=True) if is_linear(config, block) else attention(config, stem)
        found |= experts(config, stem, stacked=True)
    if mtp:
        found |= joining(config) | attention(config, "mtp.layers.0") | experts(config, "mtp.layers.0")
    return found


EYES = {
    **SEEING, "architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe", "text_config": TEXT,
}  # fmt: skip
FEW = {
    **CONFIG,
    "num_hidden_layers": 2,
    "full_attention_interval": 2,
    "linear_num_value_heads": 8,
    # All of them: else two that are as good for a token decide its logits.
    "num_experts_per_tok": 4,
    "tie_word_embeddings": True,
}

CASES = {
    "text": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", newer=True),
    "with images, blocks for further tokens alone": Case(
        EYES,
        {**shapes(TEXT, prefix="model.language_model."), **VISION},
        tokenizer="byte pairs",
        newer=True,
        mtp="only",
        logits=False,
    ),
    "two blocks, four heads of values for a key, tied": Case(
        FEW, shapes(FEW, mtp=False), shards=2, tokenizer="byte pairs", newer=True, mtp="drop"
    ),
}
