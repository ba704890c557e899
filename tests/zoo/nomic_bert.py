"""Nomic's encoder with gates and WordPiece."""

from __future__ import annotations

from typing import Any

from . import Case, _encoders
from ._encoders import Shapes, linear

CONFIG: dict[str, Any] = {
    "architectures": ["NomicBertModel"],
    "auto_map": {"AutoConfig": "configuration_hf_nomic_bert.NomicBertConfig"},
    "model_type": "nomic_bert",
    "activation_function": "swiglu",
    "causal": False,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "n_embd": 64,
    "n_head": 4,
    "n_inner": 96,
    "n_layer": 2,
    "n_positions": 8192,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "type_vocab_size": 2,
    "vocab_size": 192,
}


def case(config: dict[str, Any], **options: Any) -> Case:
    experts = config.get("num_experts")
    found: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], 64),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], 64),
        **linear("emb_ln", 64),
    }
    for block in range(config["n_layer"]):
        stem = f"encoder.layers.{block}."
        found |= linear(f"{stem}attn.Wqkv", 192, 64, bias=bool(experts))
        found |= linear(f"{stem}attn.out_proj", 64, 64, bias=bool(experts))
        found |= linear(f"{stem}norm1", 64) | linear(f"{stem}norm2", 64)
        if experts and block % 2:
            found |= {f"{stem}mlp.router.layer.weight": (experts, 64), f"{stem}mlp.experts.bias": (64,)}
            found |= {f"{stem}mlp.experts.mlp.{part}": (experts * 96, 64) for part in ("w1", "w2")}
        elif experts:
            found |= linear(f"{stem}mlp.fc1", 96, 64) | linear(f"{stem}mlp.fc2", 64, 96)
        else:
            for part in ("fc11", "fc12"):
                found |= linear(f"{stem}mlp.{part}", 96, 64, bias=False)
            found |= linear(f"{stem}mlp.fc2", 64, 96, bias=False)
    return _encoders.case(config, found, **options)


CASES = {"gates": case(CONFIG, tokenizer="word pieces", pooling="mean_tokens", dtype="f32")}
