"""Qwen3-VL with experts, stacked the other way round, and apart."""

from __future__ import annotations

from typing import Any

from . import Case, qwen3_moe
from .mistral import Shapes, changed
from .qwen2_vl import parts
from .qwen3_vl import SECTIONS, VISION, inside

TEXT: dict[str, Any] = {
    **qwen3_moe.CONFIG,
    "architectures": ["Qwen3VLMoeForConditionalGeneration"],
    "model_type": "qwen3_vl_moe_text",
    "norm_topk_prob": True,
    "rope_scaling": SECTIONS,
    "num_hidden_layers": 3,
}


def turned(plain: Shapes) -> Shapes:
    return {name: (shape[0], shape[2], shape[1]) if len(shape) == 3 else shape for name, shape in plain.items()}


HEADLESS = changed(
    {**TEXT, "num_experts": 4, "rope_scaling": {**SECTIONS, "mrope_section": [3, 3, 2]}, "tie_word_embeddings": True},
    {"head_dim": ...},
)
SHALLOW = {**VISION, "deepstack_visual_indexes": []}

CASES = {
    "stacked": Case(
        parts(TEXT, model_type="qwen3_vl_moe", vision_config=VISION),
        inside(turned(qwen3_moe.shapes(TEXT, stacked=True))),
        tokenizer="byte pairs",
    ),
    "apart, tied, no size of heads, f16 in shards": Case(
        parts(HEADLESS, model_type="qwen3_vl_moe", vision_config=SHALLOW),
        inside(qwen3_moe.shapes({**HEADLESS, "head_dim": 16}, tied=True)),
        dtype="f16",
        shards=2,
        tokenizer="byte pairs",
        logits=False,
    ),
}  # fmt: skip
