"""StarCoder2: layer norms, biases throughout, no gate."""

from __future__ import annotations

from typing import Any

from . import Case, mistral
from .mistral import Shapes, changed

CONFIG: dict[str, Any] = changed(
    {
        **mistral.CONFIG, "architectures": ["Starcoder2ForCausalLM"], "model_type": "starcoder2", "vocab_size": 280, "use_bias": True,
        "hidden_act": "gelu_pytorch_tanh", "norm_epsilon": 1e-5, "sliding_window": None, "tie_word_embeddings": True,
    },
    {"rms_norm_eps": ...},
)  # fmt: skip


def shapes(config: dict[str, Any], *, tied: bool = True) -> Shapes:
    projections = tuple(f"self_attn.{part}_proj" for part in "qkvo")
    found: Shapes = {}
    for name, shape in mistral.shapes(config, tied=tied, biases=(*projections, "mlp.up_proj", "mlp.down_proj")).items():
        if "gate_proj" not in name:
            renamed = name.replace("up_proj", "c_fc").replace("down_proj", "c_proj")
            found[renamed] = shape
            if "norm" in name:
                found[renamed.replace("weight", "bias")] = shape
    return found


FEW = {
    key: CONFIG[key] for key in ("architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
} | {"num_attention_heads": 4}  # fmt: skip

CASES = {
    "tied": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "few keys, f16": Case(FEW, shapes({**FEW, "num_key_value_heads": 2}), dtype="f16", tokenizer="byte pairs"),
    "untied, f32 in shards": Case(
        {**CONFIG, "tie_word_embeddings": False, "sliding_window": 64},
        shapes(CONFIG, tied=False),
        dtype="f32",
        shards=2,
        tokenizer="byte pairs",
        logits=False,
    ),
}
