"""EXAONE 4.5: the model of text of one that sees, with and without blocks for the prediction of several tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, exaone4
from .exaone_moe import further
from .mistral import LLAMA3, Shapes, changed

TEXT = changed(
    exaone4.CONFIG,
    {
        "architectures": ...,
        "model_type": "exaone4_5_text",
        "head_dim": 16,
        "sliding_window": None,
        "num_nextn_predict_layers": 0,
    },
)


def config(text: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["Exaone4_5_ForConditionalGeneration"],
        "model_type": "exaone4_5",
        "text_config": dict(text),
        "vision_config": {
            "model_type": "exaone4_5_vision",
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 2,
            "num_key_value_heads": 1,
        },
        "image_token_id": 67,
        "tie_word_embeddings": text["tie_word_embeddings"],
    }


def shapes(text: Mapping[str, Any], mtp: int = 0) -> Shapes:
    plain = exaone4.shapes(dict(text))
    found = {name.replace("model.", "model.language_model.", 1): shape for name, shape in plain.items()}
    found |= further(text, plain, mtp) if mtp else {}
    return found | {"model.visual.blocks.0.attn.qkv.weight": (64, 32), "model.visual.merger.mlp.0.weight": (128, 128)}


SCALED = changed(TEXT, {"rope_scaling": {**LLAMA3, "factor": 16.0}, "model_type": "exaone4"})
ONE = changed(TEXT, {"num_nextn_predict_layers": 1})
SHARED = changed(TEXT, {"num_nextn_predict_layers": 2, "mtp_share_layers": True})

CASES = {
    "text of one that sees": Case(config(TEXT), shapes(TEXT), tokenizer="byte pairs", newer=True),
    "scaled rotations, blocks for further tokens that are not declared, f32": Case(
        config(SCALED), shapes(SCALED, 1), dtype="f32", tokenizer="byte pairs", newer=True
    ),
    "a block for further tokens": Case(config(ONE), shapes(ONE, 1), tokenizer="byte pairs", shards=2, logits=False),
    "two such blocks that are one, f16": Case(config(SHARED), shapes(SHARED, 1), dtype="f16", tokenizer="byte pairs", logits=False),
}  # fmt: skip
