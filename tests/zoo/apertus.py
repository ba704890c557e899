"""Apertus: no gate, and activations that each block has learned, whose numbers stand in the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checkpoints import encode, values
from . import Case
from .mistral import LLAMA3, Shapes, changed
from .mistral import shapes as dense

CONFIG: dict[str, Any] = {
    "architectures": ["ApertusForCausalLM"],
    "model_type": "apertus",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 12000000,
    "rope_scaling": LLAMA3,
    "hidden_act": "xielu",
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

LEARNED = {"alpha_n": -1.05, "alpha_p": 0.2, "beta": 0.5, "eps": -1e-6}
"""What a block's activation begins with."""


def shapes(config: Mapping[str, Any], biases: tuple[str, ...] = ()) -> Shapes:
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    found: Shapes = {}
    for name, shape in dense(config, biases=biases).items():
        if "gate_proj" in name:
            continue
        name = name.replace("input_layernorm", "attention_layernorm")
        found[name.replace("post_attention_layernorm", "feedforward_layernorm")] = shape
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            found[name.replace("_proj", "_norm")] = (head,)
    for block in range(config["num_hidden_layers"]):
        for part in LEARNED:
            found[f"model.layers.{block}.mlp.act_fn.{part}"] = (1,) if part.startswith("alpha") else ()
    return found


def learned(shapes: Shapes, dtype: str) -> dict[str, bytes]:
    """The numbers of the activations, all of them different."""
    names = [name for name in shapes if ".act_fn." in name]
    begun = np.array([LEARNED[name.rpartition(".")[2]] for name in names], np.float32)
    # Of eight bits, as which transformers holds them.
    made = ((begun * (values(len(names), 5) + np.float32(1))).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return {name: encode(made[at : at + 1], dtype) for at, name in enumerate(names)}


def case(
    changes: Mapping[str, Any] | None = None, *, dtype: str = "bf16", biases: tuple[str, ...] = (), **more: Any
) -> Case:
    config = changed(CONFIG, changes or {})
    made = shapes(config, biases)
    return Case(config, made, dtype=dtype, given=learned(made, dtype), tokenizer="byte pairs", **more)


ATTENTION = tuple(f"self_attn.{part}_proj" for part in "qkvo")

CASES = {
    "scaled rotations": case(),
    "no scaling, heads of their own size, f32": case({"rope_scaling": None, "rope_theta": 10000.0, "head_dim": 32}, dtype="f32"),
    "biases, few keys, f16 in shards": case(
        {"attention_bias": True, "num_key_value_heads": None, "rope_scaling": ...}, dtype="f16", biases=ATTENTION, shards=3
    ),
}  # fmt: skip
