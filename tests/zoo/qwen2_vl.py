"""Qwen2-VL and Qwen2.5-VL: sections of rotations, configurations in one part and in two, towers that are left out."""

from __future__ import annotations

from typing import Any

from . import Case, qwen2
from .mistral import Shapes, changed

SECTIONS = {"type": "mrope", "mrope_section": [2, 3, 3]}
VISION = {
    "depth": 1,
    "embed_dim": 16,
    "hidden_size": 64,
    "num_heads": 2,
    "mlp_ratio": 2,
    "patch_size": 4,
    "in_channels": 3,
}
VISION_25 = {
    "depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4, "in_channels": 3,
    "fullatt_block_indexes": [0],
}  # fmt: skip
CONFIG: dict[str, Any] = {
    **qwen2.CONFIG,
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "rope_scaling": SECTIONS,
    "vision_config": VISION,
}
TOWER: Shapes = {"visual.patch_embed.proj.weight": (16, 3, 2, 4, 4), "visual.merger.ln_q.weight": (16,)}


def shapes(config: dict[str, Any], *, tied: bool, inner: str = "model.", outer: str = "") -> Shapes:
    plain = qwen2.case(config, tied=tied).shapes
    text = {
        name if name.startswith("lm_head") else inner + name.removeprefix("model."): shape
        for name, shape in plain.items()
    }
    return text | {outer + name: shape for name, shape in TOWER.items()}


def parts(text: dict[str, Any], **root: Any) -> dict[str, Any]:
    """A configuration whose text model has a part of its own."""
    named = changed(text, {"architectures": ..., "vision_config": ...})
    return {
        "architectures": text["architectures"],
        "text_config": named,
        "tie_word_embeddings": named.get("tie_word_embeddings", False),
        **root,
    }


CONFIG_25 = {
    **CONFIG,
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "tie_word_embeddings": False,
}
TODAY = changed(
    {**CONFIG_25, "model_type": "qwen2_5_vl_text", "rope_parameters": {"rope_type": "default", "mrope_section": [4, 4], "rope_theta": 5e5}},
    {"rope_scaling": ..., "rope_theta": ...},
)  # fmt: skip

CASES = {
    "2, tied": Case(CONFIG, shapes(CONFIG, tied=True), tokenizer="byte pairs"),
    "2, few keys, f16": Case(
        changed(CONFIG, {**qwen2.FEW, "num_attention_heads": 8, "rope_theta": ..., "hidden_size": 64}),
        shapes({"num_attention_heads": 8, "num_key_value_heads": 8}, tied=False),
        dtype="f16",
        tokenizer="byte pairs",
        logits=False,
    ),
    "2.5, f32 in shards": Case(
        {**CONFIG_25, "vision_config": VISION_25},
        shapes(CONFIG_25, tied=False),
        dtype="f32",
        shards=2,
        tokenizer="byte pairs",
    ),
    "2.5, as transformers 5 saves it": Case(
        parts(TODAY, model_type="qwen2_5_vl", vision_config=VISION_25),
        shapes(CONFIG_25, tied=False, inner="model.language_model.", outer="model."),
        tokenizer="byte pairs",
        newer=True,
    ),
}
