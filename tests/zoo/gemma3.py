"""Gemma 3 that sees: only its text part is read, whatever the tensors are called and wherever its configuration stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, gemma3_text
from .gemma3_text import shapes
from .mistral import Shapes, changed

TEXT = {
    key: value
    for key, value in gemma3_text.CONFIG.items()
    if key not in ("architectures", "bos_token_id", "eos_token_id", "pad_token_id")
} | {"num_hidden_layers": 2}
CONFIG: dict[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "boi_token_index": 255,
    "eoi_token_index": 256,
    "image_token_index": 300,
    "eos_token_id": [1, 106],
    "mm_tokens_per_image": 4,
    "text_config": TEXT,
    "vision_config": {
        "hidden_size": 32,
        "image_size": 28,
        "intermediate_size": 64,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "patch_size": 14,
    },
}
VISION: Shapes = {
    "multi_modal_projector.mm_input_projection_weight": (32, 64),
    "multi_modal_projector.mm_soft_emb_norm.weight": (32,),
    "vision_tower.vision_model.embeddings.patch_embedding.bias": (32,),
    "vision_tower.vision_model.embeddings.patch_embedding.weight": (32, 3, 14, 14),
    "vision_tower.vision_model.embeddings.position_embedding.weight": (4, 32),
    "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight": (64, 32),
    "vision_tower.vision_model.post_layernorm.weight": (32,),
}


def old(name: str) -> str:
    return f"language_model.{name}"


def new(name: str) -> str:
    return name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name


def case(
    text: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    names: Any = old,
    prefix: str = "",
    tied: bool = True,
    **options: Any,
) -> Case:
    part = changed(TEXT, text or {})
    config = changed({**CONFIG, "text_config": part}, changes or {})
    weights = shapes({**TEXT, "num_key_value_heads": 4, "head_dim": 256, **part}, tied=tied)
    named = {names(name): shape for name, shape in weights.items()}
    return Case(
        config, named | {prefix + name: shape for name, shape in VISION.items()}, **{"logits": False, **options}
    )


FEW = {key: value for key, value in gemma3_text.FEW.items() if key in TEXT}

CASES = {
    "names of old": case(logits=True),
    "names of today, f16": case(names=new, prefix="model.", dtype="f16", logits=True),
    "untied, f32": case(names=old, tied=False, dtype="f32"),
    "few keys": case({**FEW, "model_type": ..., "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}),
    "a text part of another type": case({**FEW, "model_type": "llama"}),
    "scaling that transformers refuses": case(
        {**FEW, "head_dim": 256, "sliding_window": 64, "rope_scaling": {"factor": 8.0, "type": "linear"}}
    ),
    "keys outside the text part": case(changes={"rms_norm_eps": 1e-3, "rope_theta": 5.0, "hidden_size": 7}),
    "the text part names its class": case({"architectures": ["Gemma3ForCausalLM"]}),
    "more rows than tokens, in shards": Case(
        CONFIG, {**case().shapes, "language_model.model.embed_tokens.weight": (384, 64)}, shards=4, logits=False
    ),
    "12 blocks": case({"num_hidden_layers": 12}, names=new, prefix="model."),
}
