"""SigLIP, the tower of several families: its tensors, and what transformers fills in."""

from __future__ import annotations

from modelbuild.checkpoint.config import Config
from modelbuild.checkpoint.projectors._loads import ATTENTION, FEED_FORWARD

DEFAULTS: Config = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,
}
"""(transformers, SiglipVisionConfig)"""

_BLOCK = {
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}


def names(prefix: str) -> dict[str, str]:
    """The stems of a tower whose tensors begin with `prefix` -> the file's."""
    return {
        f"{prefix}embeddings.patch_embedding": "v.patch_embd",
        f"{prefix}embeddings.position_embedding": "v.position_embd",
        f"{prefix}post_layernorm": "v.post_ln",
        **{f"{prefix}encoder.layers.N.{stem}": f"v.blk.N.{name}" for stem, name in _BLOCK.items()},
    }


LOADS = f"""
    v.patch_embd             patch patch 3 embd
    v.patch_embd.bias?       embd
    v.position_embd          embd positions
    v.post_ln?               embd
    v.post_ln.bias?          embd
    v.blk.N.ln1              embd
    v.blk.N.ln1.bias?        embd
    v.blk.N.ln2              embd
    v.blk.N.ln2.bias?        embd
    {ATTENTION} {FEED_FORWARD}
"""
