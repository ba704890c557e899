"""Gemma 4 that sees and hears: its text model alone, with its towers or without them, and one whose images go in as they are."""

from __future__ import annotations

import json
from typing import Any

from . import Case, gemma4_text
from .gemma4_text import LARGE, shapes
from .mistral import Shapes

TEXT: dict[str, Any] = {
    key: value for key, value in {**gemma4_text.CONFIG, **LARGE}.items() if key not in ("architectures", "eos_token_id")
}
CONFIG: dict[str, Any] = {
    "architectures": ["Gemma4ForConditionalGeneration"],
    "model_type": "gemma4",
    "image_token_id": 13,
    "eos_token_id": [1, 6],
    "text_config": TEXT,
    "vision_config": {"model_type": "gemma4_vision", "hidden_size": 32, "num_hidden_layers": 1, "patch_size": 16},
    "audio_config": None,
    "tie_word_embeddings": True,
}
UNIFIED = {
    **CONFIG,
    "architectures": ["Gemma4UnifiedForConditionalGeneration"],
    "model_type": "gemma4_unified",
    "text_config": {**TEXT, "model_type": "gemma4_unified_text"},
}
PREFIX = "model.language_model."
TOWERS: Shapes = {
    "model.embed_vision.embedding_projection.weight": (64, 32),
    "model.embed_audio.embedding_projection.weight": (64, 32),
    "model.vision_tower.patch_embedder.input_proj.weight": (32, 768),
    "model.vision_tower.encoder.layers.0.mlp.up_proj.linear.weight": (64, 32),
    "model.audio_tower.layers.0.self_attn.per_dim_scale": (16,),
}

CASES = {
    "with towers, in shards": Case(
        CONFIG, shapes(TEXT, prefix=PREFIX) | TOWERS, tokenizer="gemma4", shards=2, logits=False
    ),
    "trained on text alone, f16": Case(
        CONFIG, shapes(TEXT, prefix=PREFIX), dtype="f16", tokenizer="gemma4", logits=False
    ),
    "unified": Case(
        UNIFIED,
        shapes(TEXT, prefix=PREFIX),
        tokenizer="gemma4",
        files={"generation_config.json": json.dumps({"suppress_tokens": [13, 9], "temperature": 1.0, "top_k": 64})},
        logits=False,
    ),
}
