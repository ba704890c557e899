"""Mistral 3: the text part of models that see, of Mistral Small's kind and of Ministral's, and Ministral alone."""

from __future__ import annotations

from typing import Any

from . import Case, fp8, mistral

VISION: dict[str, Any] = {
    "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_channels": 3, "image_size": 28, "patch_size": 14, "head_dim": 8, "rope_theta": 10000.0,
}  # fmt: skip
TOWER: dict[str, tuple[int, ...]] = {
    "vision_tower.ln_pre.weight": (16,),
    "vision_tower.patch_conv.weight": (16, 3, 14, 14),
    "multi_modal_projector.norm.weight": (16,),
    "multi_modal_projector.linear_1.weight": (64, 16),
}
ROPE: dict[str, Any] = {
    "type": "yarn", "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32.0, "beta_slow": 1.0,
    "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1, "rope_theta": 1000000.0,
}  # fmt: skip
SMALL = {**mistral.CONFIG, "vocab_size": 280, "head_dim": 24, "rope_theta": 1000000000.0, "sliding_window": None}
MINISTRAL = mistral.changed(
    {**SMALL, "model_type": "ministral3", "rope_parameters": ROPE},
    {"rope_theta": ..., "architectures": ["Ministral3ForCausalLM"], "hidden_act": "silu"},
)


def seeing(text: dict[str, Any], *, inner: str, outer: str, tied: bool = False, **options: Any) -> Case:
    """A model that sees; `inner` stands before the names of its text model, `outer` before those of its head."""
    part = {key: value for key, value in text.items() if key != "architectures"} | {"tie_word_embeddings": tied}
    config = {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "image_token_index": 10,
        "spatial_merge_size": 2,
        "text_config": part,
        "vision_config": VISION,
        "vision_feature_layer": -1,
        "tie_word_embeddings": tied,
    }
    shapes = {
        outer + name if name.startswith("lm_head") else inner + name.removeprefix("model."): shape
        for name, shape in mistral.shapes(text, tied=tied).items()
    }
    tower = {outer.removesuffix("language_model.") + name: shape for name, shape in TOWER.items()}
    return Case(config, shapes | tower, tokenizer="byte pairs", **options)


EIGHT_BITS = {"quant_method": "fp8", "activation_scheme": "static", "dequantize": False, "weight_block_size": None}


def one_scale(rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {".weight_scale_inv": (), ".activation_scale": ()}


CASES = {
    "small": seeing(SMALL, inner="language_model.model.", outer="language_model."),
    "small, as transformers 5 names its tensors, tied, f16": seeing(
        SMALL, inner="model.language_model.", outer="", tied=True, dtype="f16"
    ),
    "ministral": seeing(MINISTRAL, inner="language_model.model.", outer="language_model.", newer=True),
    "ministral alone, tied, f32 in shards": Case(
        {**MINISTRAL, "tie_word_embeddings": True, "head_dim": 16},
        mistral.shapes({**MINISTRAL, "head_dim": 16}, tied=True),
        dtype="f32",
        shards=2,
        tokenizer="byte pairs",
        newer=True,
    ),
    "ministral in 8 bits": fp8.scaled(
        seeing(MINISTRAL, inner="language_model.model.", outer="language_model."),
        EIGHT_BITS,
        one_scale,
        wide="bf16",
        tokenizer="byte pairs",
    ),
}
