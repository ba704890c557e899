"""Arcee: no gate, keys that transformers fills in, scaled rotations."""

from __future__ import annotations

from typing import Any

from . import Case, mistral
from .mistral import LLAMA3, Shapes, changed

CONFIG: dict[str, Any] = changed(
    {**mistral.CONFIG, "architectures": ["ArceeForCausalLM"], "model_type": "arcee", "hidden_act": "relu2"},
    {"sliding_window": ...},
)


def shapes(config: dict[str, Any], *, tied: bool = False) -> Shapes:
    return {name: shape for name, shape in mistral.shapes(config, tied=tied).items() if "gate_proj" not in name}


FEW = {
    key: CONFIG[key] for key in ("architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
} | {"bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
TIED = {**CONFIG, "tie_word_embeddings": True, "head_dim": 24}

CASES = {
    "untied": Case(CONFIG, shapes(CONFIG)),
    "tied, heads of their own size, f16 in shards": Case(TIED, shapes(TIED, tied=True), dtype="f16", shards=2),
    "few keys, llama3 scaling, f32": Case(
        {**FEW, "rope_scaling": LLAMA3}, shapes({**FEW, "num_attention_heads": 32}), dtype="f32"
    ),
}
