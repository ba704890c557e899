"""Gemma 4, with and without sound."""

from __future__ import annotations

from typing import Any

from . import TEXT, Shapes, blocks, case, linear, norm

VISION = {"model_type": "gemma4_vision", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
          "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "position_embedding_size": 16, "rms_norm_eps": 1e-6}  # fmt: skip
AUDIO = {"model_type": "gemma4_audio", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "output_proj_dims": 24,
         "subsampling_conv_channels": [128, 4], "conv_kernel_size": 5, "use_clipped_linears": False}  # fmt: skip


def config(audio: dict[str, Any] | None = None, **vision: Any) -> dict[str, Any]:
    text = {**TEXT, "model_type": "gemma4_text", "head_dim": 32, "global_head_dim": 32, "vocab_size_per_layer_input": 300,
            "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "layer_types": ["full_attention"]}  # fmt: skip
    return {"model_type": "gemma4", "text_config": text, "vision_config": {**VISION, **vision}, "audio_config": audio}


def matrix(name: str, rows: int, columns: int, limits: bool = False) -> Shapes:
    scalars: Shapes = {f"{name}.{side}_{end}": () for side in ("input", "output") for end in ("min", "max")}
    return {f"{name}.linear.weight": (rows, columns), **(scalars if limits else {})}


def seen(limits: bool) -> Shapes:
    def block(number: int) -> list[Shapes]:
        at = f"model.vision_tower.encoder.layers.{number}"
        norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
        return [
            *(matrix(f"{at}.self_attn.{each}_proj", 32, 32, limits) for each in "qkvo"),
            *(norm(f"{at}.self_attn.{each}_norm", 16, bias=False) for each in "qk"),
            *(matrix(f"{at}.mlp.{each}_proj", 48, 32, limits) for each in ("gate", "up")),
            matrix(f"{at}.mlp.down_proj", 32, 48, limits),
            *(norm(f"{at}.{each}_layernorm", 32, bias=False) for each in norms),
        ]

    return {
        "model.vision_tower.patch_embedder.input_proj.weight": (32, 48),
        "model.vision_tower.patch_embedder.position_embedding_table": (2, 16, 32),
        "model.embed_vision.embedding_projection.weight": (64, 32),
        **blocks(1, block),
    }


def heard() -> Shapes:
    def block(number: int) -> list[Shapes]:
        at = f"model.audio_tower.layers.{number}"
        norms = ("norm_pre_attn", "norm_post_attn", "norm_out", "lconv1d.pre_layer_norm", "lconv1d.conv_norm")
        halves = [
            part
            for half in ("feed_forward1", "feed_forward2")
            for part in (
                norm(f"{at}.{half}.pre_layer_norm", 32, bias=False), norm(f"{at}.{half}.post_layer_norm", 32, bias=False),
                matrix(f"{at}.{half}.ffw_layer_1", 128, 32), matrix(f"{at}.{half}.ffw_layer_2", 32, 128),
            )
        ]  # fmt: skip
        return [
            *halves,
            *(norm(f"{at}.{each}", 32, bias=False) for each in norms),
            *(matrix(f"{at}.self_attn.{each}", 32, 32) for each in ("q_proj", "k_proj", "v_proj", "post")),
            linear(f"{at}.self_attn.relative_k_proj", 32, 32, bias=False),
            {f"{at}.self_attn.per_dim_scale": (16,), f"{at}.lconv1d.depthwise_conv1d.weight": (32, 1, 5)},
            matrix(f"{at}.lconv1d.linear_start", 64, 32),
            matrix(f"{at}.lconv1d.linear_end", 32, 32),
        ]

    first = "model.audio_tower.subsample_conv_projection"
    return {
        f"{first}.layer0.conv.weight": (128, 1, 3, 3),
        f"{first}.layer0.norm.weight": (128,),
        f"{first}.layer1.conv.weight": (4, 128, 3, 3),
        f"{first}.layer1.norm.weight": (4,),
        f"{first}.input_proj_linear.weight": (32, 128),
        **linear("model.audio_tower.output_proj", 24, 32),
        "model.embed_audio.embedding_projection.weight": (64, 24),
        **blocks(2, block),
    }


NAME = "Gemma4ForConditionalGeneration"
STANDARD: Shapes = {"model.vision_tower.std_bias": (32,), "model.vision_tower.std_scale": (32,)}
CASES = {
    "images and sound": case(NAME, config(AUDIO), {**seen(False), **heard()}),
    "images, with limits and a standard, f16, in shards": case(
        NAME,
        config(use_clipped_linears=True, standardize=True),
        {**seen(True), **STANDARD, "model.language_model.norm.weight": (64,)},
        dtype="f16",
        shards=2,
        logits=False,
    ),
}
