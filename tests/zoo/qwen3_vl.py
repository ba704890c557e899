"""Qwen3-VL: sections of rotations, how many blocks of the tower are taken in, both kinds of a head."""

from __future__ import annotations

from typing import Any

from . import Case, qwen3
from .mistral import Shapes, changed
from .qwen2_vl import parts

SECTIONS = {"rope_type": "default", "mrope_section": [6, 5, 5], "mrope_interleaved": True}
VISION = {
    "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4, "in_channels": 3,
    "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1],
}  # fmt: skip
TEXT: dict[str, Any] = {
    **qwen3.CONFIG,
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl_text",
    "rope_scaling": SECTIONS,
    "num_hidden_layers": 4,
}
TOWER: Shapes = {
    "model.visual.patch_embed.proj.weight": (16, 3, 2, 4, 4),
    "model.visual.deepstack_merger_list.0.norm.weight": (64,),
    "model.visual.pos_embed.weight": (16, 16),
}


def inside(plain: Shapes) -> Shapes:
    """The names of a text model as a part of one that sees."""
    return {
        name if name.startswith("lm_head") else name.replace("model.", "model.language_model.", 1): shape
        for name, shape in plain.items()
    } | TOWER


FEW = {key: TEXT[key] for key in (*qwen3.FEW, "rope_scaling", "tie_word_embeddings")} | {"tie_word_embeddings": False}
UNTIED = {**TEXT, "tie_word_embeddings": False}
TODAY = changed(
    {**UNTIED, "rope_parameters": {**SECTIONS, "rope_theta": 5e6}},
    {"rope_scaling": ..., "rope_theta": ..., "attention_bias": False},
)

CASES = {
    "tied": Case(parts(TEXT, model_type="qwen3_vl", vision_config=VISION), inside(qwen3.shapes(TEXT, tied=True)), tokenizer="byte pairs"),
    "few keys, no tower, f16": Case(
        parts(FEW, model_type="qwen3_vl"),
        inside(qwen3.shapes({**TEXT, "head_dim": 128, "num_attention_heads": 32, "num_key_value_heads": 32, **FEW})),
        dtype="f16",
        tokenizer="byte pairs",
        logits=False,
    ),
    "as transformers 5 saves it, f32 in shards": Case(
        parts(TODAY, model_type="qwen3_vl", vision_config=VISION),
        inside(qwen3.shapes(UNTIED)),
        dtype="f32",
        shards=2,
        tokenizer="byte pairs",
        newer=True,
    ),
    "reranker": Case(
        parts(TEXT, model_type="qwen3_vl", vision_config=VISION),
        inside(qwen3.shapes(TEXT, tied=True)),
        tokenizer="answers",
        files={"README.md": "# Qwen3-VL-Reranker-2B\n"},
        logits=False,
    ),
}  # fmt: skip
