"""Cohere: one norm a block, the embedding as output, norms of each head from 64 blocks on."""

from __future__ import annotations

from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense
from .olmo2 import keeping

CONFIG: dict[str, Any] = {
    "architectures": ["CohereForCausalLM"],
    "model_type": "cohere",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "layer_norm_eps": 1e-5,
    "logit_scale": 0.5,
    "rope_theta": 10000.0,
    "bos_token_id": 5,
    "eos_token_id": 6,
    "pad_token_id": 0,
}


def shapes(config: dict[str, Any], *, normed: bool = False, biases: tuple[str, ...] = ()) -> Shapes:
    found: Shapes = {}
    heads = config["num_attention_heads"]
    head, narrow = config["hidden_size"] // heads, config.get("num_key_value_heads") or heads
    for name, shape in dense(config, tied=True, biases=biases).items():
        if "post_attention" in name:
            continue
        found[name] = shape
        if normed and name.endswith(("q_proj.weight", "k_proj.weight")):
            found[name.replace("_proj", "_norm")] = (heads if "q_proj" in name else narrow, head)
    return found


LONG = changed(
    CONFIG, {"model_max_length": 1024, "tie_word_embeddings": True, "num_key_value_heads": None, "hidden_size": 40}
)
FEW = keeping(CONFIG, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers") | {
    "num_attention_heads": 4
}
NORMED = changed(CONFIG, {"num_hidden_layers": 64, "hidden_size": 32, "intermediate_size": 8, "use_qk_norm": True})
BIASED = tuple(f"self_attn.{part}_proj" for part in "qkv")

CASES = {
    "short": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "a longer context, f32 in shards": Case(LONG, shapes(LONG), dtype="f32", shards=2, tokenizer="byte pairs"),
    "few keys, biases, f16": Case(FEW, shapes(FEW, biases=BIASED), dtype="f16", tokenizer="byte pairs", logits=False),
    "64 blocks with norms": Case(NORMED, shapes(NORMED, normed=True), tokenizer="byte pairs"),
}  # fmt: skip
