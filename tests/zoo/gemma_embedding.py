"""EmbeddingGemma: with the files of sentence-transformers that say how it pools, and without them."""

from __future__ import annotations

import json
from typing import Any

from . import Case, gemma3_text
from .gemma3_text import shapes
from .mistral import Shapes

CONFIG: dict[str, Any] = {
    **gemma3_text.CONFIG,
    "architectures": ["Gemma3TextModel"],
    "use_bidirectional_attention": True,
}
NEWER = {
    key: value for key, value in CONFIG.items() if key not in ("rope_theta", "rope_local_base_freq", "rope_scaling")
} | {
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
POOLED = {
    "modules.json": json.dumps(MODULES),
    "1_Pooling/config.json": json.dumps({"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True}),
}


def bare(config: dict[str, Any]) -> Shapes:
    return {name.removeprefix("model."): shape for name, shape in shapes(config).items()}


CASES = {
    "pooled": Case(CONFIG, bare(CONFIG), files=POOLED, logits=False),
    "rope parameters of today, f32, not pooled": Case(NEWER, bare(CONFIG), dtype="f32", logits=False),
}
