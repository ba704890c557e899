"""Qwen2-VL."""

from __future__ import annotations

from . import TEXT, Shapes, blocks, case, linear, norm

ROPE = {"rope_type": "default", "mrope_section": [4, 6, 6], "type": "default"}
VISION = {"model_type": "qwen2_vl", "depth": 3, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2,
          "spatial_merge_size": 2}  # fmt: skip
CONFIG = {
    "model_type": "qwen2_vl",
    "text_config": {**TEXT, "model_type": "qwen2_vl_text", "rope_scaling": ROPE},
    "vision_config": VISION,
}


def block(number: int) -> list[Shapes]:
    at = f"visual.blocks.{number}"
    return [
        linear(f"{at}.attn.qkv", 96, 32), linear(f"{at}.attn.proj", 32, 32), linear(f"{at}.mlp.fc1", 64, 32),
        linear(f"{at}.mlp.fc2", 32, 64), norm(f"{at}.norm1", 32), norm(f"{at}.norm2", 32),
    ]  # fmt: skip


SHAPES = {
    "visual.patch_embed.proj.weight": (32, 3, 2, 4, 4),
    **norm("visual.merger.ln_q", 32),
    **linear("visual.merger.mlp.0", 128, 128),
    **linear("visual.merger.mlp.2", 64, 128),
    **blocks(3, block),
}
NAME = "Qwen2VLForConditionalGeneration"

CASES = {
    "bf16": case(NAME, CONFIG, SHAPES),
    "f32, the text model's configuration not apart": case(
        NAME,
        {**TEXT, "model_type": "qwen2_vl", "rms_norm_eps": 1e-5, "rope_scaling": ROPE, "vision_config": VISION},
        {**SHAPES, "model.norm.weight": (64,)},
        dtype="f32",
        logits=False,
    ),
}
