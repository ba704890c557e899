"""Gemma 4 without towers."""

from __future__ import annotations

from . import case, linear, norm
from .gemma4 import config as gemma4

VISION = {"model_type": "gemma4_unified_vision", "patch_size": 4, "pooling_kernel_size": 3, "mm_embed_dim": 32, "mm_posemb_size": 16,
          "output_proj_dims": 32}  # fmt: skip
TEXT = {**gemma4()["text_config"], "model_type": "gemma4_unified_text", "hidden_size_per_layer_input": 0}
CONFIG = {
    "model_type": "gemma4_unified",
    "text_config": TEXT,
    "vision_config": VISION,
    "audio_config": {"model_type": "gemma4_unified_audio", "audio_embed_dim": 640},
}
SHAPES = {
    "model.embed_audio.embedding_projection.weight": (64, 640),
    "model.embed_vision.embedding_projection.weight": (64, 32),
    "model.vision_embedder.pos_embedding": (16, 2, 32),
    **linear("model.vision_embedder.patch_dense", 32, 432),
    **norm("model.vision_embedder.patch_ln1", 432),
    **norm("model.vision_embedder.patch_ln2", 32),
    **norm("model.vision_embedder.pos_norm", 32),
}

CASES = {"bf16": case("Gemma4UnifiedForConditionalGeneration", CONFIG, SHAPES)}
