"""What checkpoints call their tensors, and what GGUF calls them.

Source: gguf-py tensor_mapping.py; llama.cpp conversion/base.py (filter_tensors, prepare_tensors)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from modelbuild.errors import Error

NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
    "layers.N.input_layernorm": "blk.N.attn_norm",
    "layers.N.post_attention_layernorm": "blk.N.ffn_norm",
    "layers.N.self_attn.q_proj": "blk.N.attn_q",
    "layers.N.self_attn.k_proj": "blk.N.attn_k",
    "layers.N.self_attn.v_proj": "blk.N.attn_v",
    "layers.N.self_attn.o_proj": "blk.N.attn_output",
    "layers.N.mlp.gate_proj": "blk.N.ffn_gate",
    "layers.N.mlp.up_proj": "blk.N.ffn_up",
    "layers.N.mlp.down_proj": "blk.N.ffn_down",
}
"""What most checkpoints of transformers call their tensors, and what GGUF calls them; N is the number of a block."""


ATTENTION_INPUTS = r"blk\.N\.attn_(q|k|v|qkv)"
"""Stems whose biases the runtime reads in every model (llama.cpp src/llama-model.cpp, create_tensor_qkv)."""


def rename(name: str, names: Mapping[str, str], blocks: int) -> str:
    """The GGUF name of a checkpoint's tensor. Raises Error for one that stands for nothing."""
    stem, _, suffix = name.removeprefix("model.").rpartition(".")
    block = re.search(r"(?<=\.)(0|[1-9][0-9]{0,9})(?=\.)", stem)
    key = f"{stem[: block.start()]}N{stem[block.end() :]}" if block else stem
    in_range = block is None or int(block[1]) < blocks
    if key not in names or "N" in stem.split(".") or not in_range or suffix not in ("weight", "bias"):
        raise Error(
            f"tensor '{name}' cannot be mapped: this architecture has no such tensor",
            facts=[("blocks", f"{blocks} (num_hidden_layers)")],
            hint="config.json belongs to another checkpoint, or the checkpoint contains more, such as an adapter or a value head",
        )
    known = names[key].replace("N", block[1]) if block else names[key]
    return f"{known}.{suffix}"


def is_wanted(name: str) -> bool:
    """Whether a model of text needs this tensor of a checkpoint (filter_tensors, prepare_tensors)."""
    starts = (
        "mlp", "vit.", "vpm.", "siglip2.", "conformer.", "merger.", "resampler.", "sound_encoder.", "sound_projection.",
        "speech_embeddings.",
    )  # fmt: skip
    parts = (
        "visual.", "vision.", "audio.", "talker.", "vision_", "audio_", "token2wav.", "code2wav.", "projector.",
        "pre_mm_projector_norm", "image_newline", "view_seperator", "patch_embed", "patch_merger.", "patch_merge_mlp.",
        "model.connector.",
    )  # fmt: skip
    ends = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")
    return not (name.startswith(starts) or any(map(name.__contains__, parts)) or name.endswith(ends))


EXPERTS = ".experts."
"""What stands before the number of an expert that is apart, in the name of a tensor."""


DIGITS = "0123456789"


def one_of_each(names: Iterable[str]) -> list[str]:
    """Names of tensors, of a block's experts those of one alone: a large model has most of its tensors there."""
    found = {}
    for name in names:
        stem, experts, rest = name.partition(EXPERTS)
        found[stem, experts, rest.lstrip(DIGITS)] = name
    return list(found.values())
