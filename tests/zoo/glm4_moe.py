"""GLM-4.5: experts behind a block without, biases, norms of heads, blocks for further tokens kept, dropped and alone."""

from __future__ import annotations

import json
from typing import Any

from . import Case, byte_pairs
from .mistral import Shapes, changed
from .mistral import shapes as dense

CONFIG: dict[str, Any] = {
    "architectures": ["Glm4MoeForCausalLM"],
    "model_type": "glm4_moe",
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.5,
    "use_qk_norm": True,
    "attention_bias": True,
    "partial_rotary_factor": 0.5,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000,
    "rope_scaling": None,
    "num_nextn_predict_layers": 1,
    "tie_word_embeddings": False,
    "eos_token_id": [276, 280, 282],
    "pad_token_id": 276,
}
BIASED = tuple(f"self_attn.{part}_proj" for part in "qkv")


def experts(config: dict[str, Any], stem: str) -> Shapes:
    """What a block with experts has in the place of its feed forward."""
    hidden, forward = config["hidden_size"], config["moe_intermediate_size"]
    found: Shapes = {
        f"{stem}.mlp.gate.weight": (config["n_routed_experts"], hidden),
        f"{stem}.mlp.gate.e_score_correction_bias": (config["n_routed_experts"],),
    }
    each = [(f"experts.{n}", forward) for n in range(config["n_routed_experts"])]
    for name, rows in (*each, ("shared_experts", config["n_shared_experts"] * forward)):
        found[f"{stem}.mlp.{name}.gate_proj.weight"] = found[f"{stem}.mlp.{name}.up_proj.weight"] = (rows, hidden)
        found[f"{stem}.mlp.{name}.down_proj.weight"] = (hidden, rows)
    return found


def joining(config: dict[str, Any], *, own: bool = True) -> Shapes:
    """What joins the block behind the others to the model; `own`: with an embedding and an output of its own."""
    hidden, stem = config["hidden_size"], f"model.layers.{config['num_hidden_layers']}"
    found: Shapes = {
        f"{stem}.eh_proj.weight": (hidden, 2 * hidden),
        f"{stem}.enorm.weight": (hidden,),
        f"{stem}.hnorm.weight": (hidden,),
        f"{stem}.shared_head.norm.weight": (hidden,),
    }
    rows = (config["vocab_size"], hidden)
    return {**found, f"{stem}.embed_tokens.weight": rows, f"{stem}.shared_head.head.weight": rows} if own else found


def shapes(config: dict[str, Any], *, mtp: bool = True, tied: bool = False, own: bool = True) -> Shapes:
    blocks = config["num_hidden_layers"]
    found: Shapes = {}
    biases = BIASED if config["attention_bias"] else ()
    for name, shape in dense({**config, "num_hidden_layers": blocks + mtp}, tied=tied, biases=biases).items():
        stem, _, part = name.partition(".mlp.")
        if not part or int(stem.rpartition(".")[2]) < config["first_k_dense_replace"]:
            found[name] = shape
    for block in range(blocks + mtp):
        stem = f"model.layers.{block}"
        if block >= config["first_k_dense_replace"]:
            found |= experts(config, stem)
        if config["use_qk_norm"]:
            found |= {f"{stem}.self_attn.{part}_norm.weight": (config["head_dim"],) for part in "qk"}
    return found | joining(config, own=own) if mtp else found


def tokenizer() -> str:
    """The synthetic byte pairs, with the tokens that GLM's have."""
    data = byte_pairs()
    for text in ("<|user|>", "[gMASK]", "<|observation|>"):
        last = data["added_tokens"][-1]
        data["added_tokens"].append({**last, "id": last["id"] + 1, "content": text, "special": True})
    return json.dumps(data, ensure_ascii=False)


FILES = {"tokenizer.json": tokenizer()}
BIASES = {name: "f32" for name in shapes(CONFIG) if name.endswith("_bias")}
PLAIN = changed(
    CONFIG,
    {
        "hidden_size": 40,
        "head_dim": 16,
        "num_hidden_layers": 3,
        "first_k_dense_replace": 2,
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "num_experts_per_tok": 3,
        "use_qk_norm": False,
        "attention_bias": False,
        "norm_topk_prob": False,
        "num_nextn_predict_layers": 0,
        "tie_word_embeddings": True,
    },
)
FIVE = changed(
    CONFIG,
    {
        "rope_theta": ..., "partial_rotary_factor": ..., "rope_scaling": ..., "n_shared_experts": 2,
        "rope_parameters": {"rope_theta": 1000000, "rope_type": "default", "partial_rotary_factor": 0.25},
    },
)  # fmt: skip

CASES = {
    "norms of heads, biases": Case(CONFIG, shapes(CONFIG), dtypes=BIASES, tokenizer="byte pairs", files=FILES),
    "tied, no blocks for further tokens, f32": Case(
        PLAIN, shapes(PLAIN, mtp=False, tied=True), dtype="f32", tokenizer="byte pairs", files=FILES
    ),
    "two shared experts, f16 in shards, as transformers 5 writes it": Case(
        FIVE, shapes(FIVE, own=False), dtype="f16", shards=2, tokenizer="byte pairs", files=FILES, newer=True
    ),
    "blocks for further tokens dropped": Case(
        CONFIG, shapes(CONFIG), tokenizer="byte pairs", files=FILES, mtp="drop", logits=False
    ),
    "blocks for further tokens alone": Case(
        CONFIG, shapes(CONFIG), tokenizer="byte pairs", files=FILES, mtp="only", logits=False
    ),
}  # fmt: skip
