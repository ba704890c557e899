"""Drafts of Gemma 4: a few blocks without keys and values of their own."""

from __future__ import annotations

from typing import Any

from . import Case, gemma4_text
from .gemma4_text import LARGE, shapes
from .mistral import Shapes

TEXT: dict[str, Any] = {
    key: value
    for key, value in {**gemma4_text.CONFIG, **LARGE}.items()
    if key not in ("architectures", "eos_token_id", "final_logit_softcapping")
} | {"num_kv_shared_layers": 3, "attention_k_eq_v": False, "num_global_key_value_heads": None}
CONFIG: dict[str, Any] = {
    "architectures": ["Gemma4AssistantForCausalLM"],
    "model_type": "gemma4_assistant",
    "backbone_hidden_size": 96,
    "use_ordered_embeddings": False,
    "text_config": TEXT,
    "tie_word_embeddings": True,
}
UNIFIED = {
    **CONFIG,
    "architectures": ["Gemma4UnifiedAssistantForCausalLM"],
    "model_type": "gemma4_unified_assistant",
    "text_config": {**TEXT, "model_type": "gemma4_unified_text"},
}
JOINING: Shapes = {"pre_projection.weight": (64, 192), "post_projection.weight": (96, 64)}
ORDERED: Shapes = {"masked_embedding.centroids.weight": (1, 64), "masked_embedding.token_ordering": (307,)}

CASES = {
    "with a shorter list of tokens": Case(
        {**CONFIG, "use_ordered_embeddings": True},
        shapes(TEXT) | JOINING | ORDERED,
        dtypes={"masked_embedding.token_ordering": "i64"},
        tokenizer="gemma4",
        logits=False,
    ),
    "unified, f32": Case(UNIFIED, shapes(TEXT) | JOINING, dtype="f32", tokenizer="gemma4", logits=False),
}
