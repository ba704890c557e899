"""Qwen2.5-VL."""

from __future__ import annotations

from . import TEXT, Shapes, blocks, case, linear, norm
from .qwen2_vl import ROPE

VISION = {"model_type": "qwen2_5_vl", "depth": 3, "hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 48, "num_heads": 2,
          "patch_size": 14, "spatial_merge_size": 2, "fullatt_block_indexes": [1], "window_size": 112}  # fmt: skip
CONFIG = {
    "model_type": "qwen2_5_vl",
    "text_config": {**TEXT, "model_type": "qwen2_5_vl_text", "rope_scaling": ROPE},
    "vision_config": VISION,
}


def block(number: int) -> list[Shapes]:
    at = f"visual.blocks.{number}"
    return [
        linear(f"{at}.attn.qkv", 96, 32), linear(f"{at}.attn.proj", 32, 32), linear(f"{at}.mlp.gate_proj", 48, 32),
        linear(f"{at}.mlp.up_proj", 48, 32), linear(f"{at}.mlp.down_proj", 32, 48), norm(f"{at}.norm1", 32, bias=False),
        norm(f"{at}.norm2", 32, bias=False),
    ]  # fmt: skip


SHAPES = {
    "visual.patch_embed.proj.weight": (32, 3, 2, 14, 14),
    **norm("visual.merger.ln_q", 32, bias=False),
    **linear("visual.merger.mlp.0", 128, 128),
    **linear("visual.merger.mlp.2", 64, 128),
    **blocks(3, block),
}
NAME = "Qwen2_5_VLForConditionalGeneration"

CASES = {
    "bf16": case(NAME, CONFIG, SHAPES),
    "f16, in shards": case(NAME, CONFIG, SHAPES, dtype="f16", shards=2, logits=False),
}
