"""Qwen3-VL and Qwen3.5."""

from __future__ import annotations

from typing import Any

from . import TEXT, Shapes, blocks, case, linear, norm

VISION = {"model_type": "qwen3_vl", "depth": 3, "hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 48, "num_heads": 2,
          "patch_size": 4, "spatial_merge_size": 2, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 2]}  # fmt: skip


def config(kind: str, **vision: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [3, 3, 2]}
    text = {**TEXT, "model_type": f"{kind}_text", "head_dim": 16, "rms_norm_eps": 1e-5, "rope_scaling": rope, "num_experts": 4,
            "num_experts_per_tok": 2, "moe_intermediate_size": 32}  # fmt: skip
    return {"model_type": kind, "text_config": text, "vision_config": {**VISION, "model_type": kind, **vision}}


def merger(at: str, width: int) -> Shapes:
    return {**norm(f"{at}.norm", width), **linear(f"{at}.linear_fc1", 128, 128), **linear(f"{at}.linear_fc2", 64, 128)}


def shapes(prefix: str, deep: int) -> Shapes:
    def block(number: int) -> list[Shapes]:
        at = f"{prefix}blocks.{number}"
        return [
            linear(f"{at}.attn.qkv", 96, 32), linear(f"{at}.attn.proj", 32, 32), linear(f"{at}.mlp.linear_fc1", 48, 32),
            linear(f"{at}.mlp.linear_fc2", 32, 48), norm(f"{at}.norm1", 32), norm(f"{at}.norm2", 32),
        ]  # fmt: skip

    return {
        f"{prefix}patch_embed.proj.weight": (32, 3, 2, 4, 4),
        f"{prefix}patch_embed.proj.bias": (32,),
        f"{prefix}pos_embed.weight": (16, 32),
        **merger(f"{prefix}merger", 32),
        **blocks(deep, lambda number: [merger(f"{prefix}deepstack_merger_list.{number}", 128)]),
        **blocks(3, block),
    }


DENSE = config("qwen3_5", deepstack_visual_indexes=[])
CASES = {
    "from several depths": case("Qwen3VLForConditionalGeneration", config("qwen3_vl"), shapes("model.visual.", 2)),
    "experts, f16, in shards": case(
        "Qwen3VLMoeForConditionalGeneration", config("qwen3_vl_moe"), shapes("model.visual.", 2), dtype="f16", shards=2, logits=False
    ),
    "3.5": case("Qwen3_5ForConditionalGeneration", DENSE, {**shapes("model.visual.", 0), "mtp.norm.weight": (64,)}),
    "3.5 with experts, f32": case(
        "Qwen3_5MoeForConditionalGeneration", config("qwen3_5_moe", deepstack_visual_indexes=[], spatial_merge_size=2),
        shapes("visual.", 0), dtype="f32", logits=False,
    ),
}  # fmt: skip
