"""SigLIP's tensors."""

from __future__ import annotations

from . import Shapes, blocks, linear, norm


def tower(prefix: str, embd: int, ff: int, count: int, patch: int, positions: int) -> Shapes:
    def block(number: int) -> list[Shapes]:
        at = f"{prefix}encoder.layers.{number}"
        attention = [linear(f"{at}.self_attn.{each}_proj", embd, embd) for each in ("q", "k", "v", "out")]
        mlp = [linear(f"{at}.mlp.fc1", ff, embd), linear(f"{at}.mlp.fc2", embd, ff)]
        return [*attention, *mlp, norm(f"{at}.layer_norm1", embd), norm(f"{at}.layer_norm2", embd)]

    return {
        f"{prefix}embeddings.patch_embedding.weight": (embd, 3, patch, patch),
        f"{prefix}embeddings.patch_embedding.bias": (embd,),
        f"{prefix}embeddings.position_embedding.weight": (positions, embd),
        **norm(f"{prefix}post_layernorm", embd),
        **blocks(count, block),
    }
