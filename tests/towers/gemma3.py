"""Gemma 3."""

from __future__ import annotations

from . import IMAGES, TEXT, case
from ._siglip import tower

VISION = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 2, "image_size": 16, "patch_size": 4}  # fmt: skip
CONFIG = {
    "model_type": "gemma3",
    "mm_tokens_per_image": 4,
    "text_config": {**TEXT, "model_type": "gemma3_text", "head_dim": 16},
    "vision_config": VISION,
}
SHAPES = {
    "multi_modal_projector.mm_input_projection_weight": (32, 64),
    "multi_modal_projector.mm_soft_emb_norm.weight": (32,),
    **tower("vision_tower.vision_model.", 32, 48, 2, 4, 16),
}
NAME = "Gemma3ForConditionalGeneration"

CASES = {
    "squares of two patches": case(NAME, CONFIG, SHAPES, {**IMAGES, "image_seq_length": 4}),
    "f16, squares of four, in shards": case(
        NAME,
        {**CONFIG, "vision_config": {**VISION, "layer_norm_eps": 1e-5}},
        {**SHAPES, "vision_tower.vision_model.head.layernorm.weight": (32,), "language_model.model.norm.weight": (64,)},
        {**IMAGES, "image_seq_length": 1},
        dtype="f16",
        shards=3,
        logits=False,
        files={"processor_config.json": '{"image_processor": {"image_mean": [0.5, 0.5, 0.5]}}'},
    ),
}
