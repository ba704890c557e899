"""A checkpoint shaped as Gemma 4 E2B: an embedding for each block, windows, and later blocks that use the keys of earlier ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]

DENSE: dict[str, Any] = {
    "architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "torch_dtype": "bfloat16", "vision_config": None,
    "text_config": {
        "model_type": "gemma4_text", "vocab_size": 131072, "vocab_size_per_layer_input": 131072, "hidden_size": 1024,
        "hidden_size_per_layer_input": 64, "intermediate_size": 3584, "num_hidden_layers": 18, "num_attention_heads": 8,
        "num_key_value_heads": 1, "num_global_key_value_heads": None, "head_dim": 256, "global_head_dim": 512,
        "num_kv_shared_layers": 6, "use_double_wide_mlp": True, "attention_k_eq_v": False, "enable_moe_block": False,
        "num_experts": None, "top_k_experts": None, "moe_intermediate_size": None, "sliding_window": 512,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 6, "max_position_embeddings": 131072,
        "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "rope_parameters": {
            "full_attention": {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    },
}  # fmt: skip
"""That of Gemma 4 E2B with smaller blocks and half of its tokens: 1.3 GB."""


def shapes(config: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    text, stem = config["text_config"], "model.language_model"
    hidden, layer, blocks = (text[key] for key in ("hidden_size", "hidden_size_per_layer_input", "num_hidden_layers"))
    yield f"{stem}.embed_tokens.weight", (text["vocab_size"], hidden)
    yield f"{stem}.embed_tokens_per_layer.weight", (text["vocab_size"], blocks * layer)
    yield f"{stem}.per_layer_model_projection.weight", (blocks * layer, hidden)
    yield f"{stem}.per_layer_projection_norm.weight", (layer,)
    yield f"{stem}.norm.weight", (hidden,)
    for block, kind in enumerate(text["layer_types"]):
        own = block < blocks - text["num_kv_shared_layers"]
        for name, shape in _block(text, kind == "full_attention", own).items():
            yield f"{stem}.layers.{block}.{name}", shape


def _block(text: dict[str, Any], is_full: bool, own: bool) -> dict[str, Shape]:
    hidden, layer = text["hidden_size"], text["hidden_size_per_layer_input"]
    head = text["global_head_dim" if is_full else "head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    forward = text["intermediate_size"] * (1 if own else 2)
    found: dict[str, Shape] = {
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "self_attn.q_norm.weight": (head,),
        "mlp.gate_proj.weight": (forward, hidden),
        "mlp.up_proj.weight": (forward, hidden),
        "mlp.down_proj.weight": (hidden, forward),
        "layer_scalar": (1,),
        "per_layer_input_gate.weight": (layer, hidden),
        "per_layer_projection.weight": (hidden, layer),
    }
    norms = (
        "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
        "post_per_layer_input_norm",
    )  # fmt: skip
    found |= {f"{norm}.weight": (hidden,) for norm in norms}
    if own:
        found |= {f"self_attn.{part}_proj.weight": (keys, hidden) for part in "kv"}
        found["self_attn.k_norm.weight"] = (head,)
    return found


def tokenizer(folder: Path) -> None:
    """A tokenizer.json of as many tokens as the checkpoint has rows, made up, which falls back to bytes."""
    special, space = ("<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>"), "\u2581"
    letters = [space, *map(chr, range(0x3041, 0x3041 + 600))]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    left = DENSE["text_config"]["vocab_size"] - len(tokens)
    pairs = [(first, second) for first in letters for second in letters][:left]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    data = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, "content": text, **flags} for number, text in enumerate(special)],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": space},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": {text: number for number, text in enumerate([*tokens, *map("".join, pairs)])}, "merges": pairs,
        },
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False))
    names = {f"{kind}_token": f"<{kind}>" for kind in ("bos", "eos", "unk", "pad")}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GemmaTokenizer", **names}))
