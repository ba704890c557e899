"""Idefics3 and SmolVLM."""

from __future__ import annotations

from typing import Any

from . import IMAGES, TEXT, case
from ._siglip import tower

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}


def config(kind: str, **more: Any) -> dict[str, Any]:
    text = {**TEXT, "model_type": "llama", "pad_token_id": 2}
    return {"model_type": kind, "text_config": text, "vision_config": {**VISION, "model_type": f"{kind}_vision"}, "pad_token_id": 2,
            **more}  # fmt: skip


def shapes(factor: int) -> dict[str, tuple[int, ...]]:
    return {
        "model.connector.modality_projection.proj.weight": (64, 32 * factor**2),
        "model.text_model.norm.weight": (64,),
        **tower("model.vision_model.", 32, 48, 2, 4, 16),
    }


CASES = {
    "idefics3": case(
        "Idefics3ForConditionalGeneration",
        config("idefics3", scale_factor=2),
        shapes(2),
        {**IMAGES, "size": {"longest_edge": 64}},
    ),
    "smolvlm, f16, in shards": case(
        "SmolVLMForConditionalGeneration", config("smolvlm", scale_factor=4), shapes(4), dtype="f16", shards=2
    ),
}
