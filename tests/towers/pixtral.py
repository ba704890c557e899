"""Pixtral: the embedding is called as llama.cpp's converter finds it; what checkpoints call it has tests of its own."""

from __future__ import annotations

import json
from typing import Any

from . import TEXT, Shapes, blocks, case, linear, norm

TOKENS = {
    "tokenizer.json": json.dumps({"added_tokens": [{"id": 12, "content": "[IMG_BREAK]"}]}),
    "tokenizer_config.json": "{}",
}
VISION = {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
          "image_size": 32, "patch_size": 4, "head_dim": 16, "hidden_act": "silu"}  # fmt: skip


def config(kind: str, **more: Any) -> dict[str, Any]:
    text = {**TEXT, "model_type": "mistral", "head_dim": 32}
    return {"model_type": kind, "text_config": text, "vision_config": {**VISION, "hidden_act": "silu"}, **more}


def block(number: int) -> list[Shapes]:
    at = f"vision_tower.transformer.layers.{number}"
    attention = [linear(f"{at}.attention.{each}_proj", 32, 32, bias=False) for each in "qkvo"]
    gates = [linear(f"{at}.feed_forward.{each}_proj", 48, 32, bias=False) for each in ("gate", "up")]
    down = linear(f"{at}.feed_forward.down_proj", 32, 48, bias=False)
    return [
        *attention,
        *gates,
        down,
        norm(f"{at}.attention_norm", 32, bias=False),
        norm(f"{at}.ffn_norm", 32, bias=False),
    ]


def shapes(bias: bool, merged: bool) -> Shapes:
    projector = "multi_modal_projector."
    more = {
        **norm(f"{projector}norm", 32, bias=False),
        **linear(f"{projector}patch_merger.merging_layer", 32, 128, bias=False),
    }
    return {
        "embed_tokens.weight": (300, 64),
        **linear(f"{projector}linear_1", 64, 32, bias),
        **linear(f"{projector}linear_2", 64, 64, bias),
        "vision_tower.patch_conv.weight": (32, 3, 4, 4),
        **norm("vision_tower.ln_pre", 32, bias=False),
        **blocks(3, block),
        **(more if merged else {}),
    }


DECODER = {"added_tokens_decoder": {"10": {"content": "[IMG]"}, "12": {"content": "[IMG_BREAK]"}}}
CASES = {
    "mistral 3": case(
        "Mistral3ForConditionalGeneration",
        config("mistral3", spatial_merge_size=2, vision_feature_layer=-1, multimodal_projector_bias=False),
        shapes(False, True),
        files=TOKENS,
    ),
    "llava, f16": case(
        "LlavaForConditionalGeneration",
        config("llava", vision_feature_layer=-1, vision_feature_select_strategy="full", image_seq_length=1),
        shapes(True, False),
        dtype="f16",
        shards=2,
        files={**TOKENS, "tokenizer_config.json": json.dumps(DECODER)},
    ),
    "mistral 3 of 2026": case(
        "Mistral3ForConditionalGeneration",
        {**config("mistral3", spatial_merge_size=2), "text_config": {**TEXT, "model_type": "ministral3"}},
        shapes(False, True),
        files=TOKENS,
        logits=False,
    ),
}
