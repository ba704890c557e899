"""Granite with four and eight experts, with a shared one, and under the name that transformers gives to that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .granite import CONFIG as DENSE
from .granite import shapes

CONFIG: dict[str, Any] = {
    **DENSE,
    "architectures": ["GraniteMoeForCausalLM"],
    "model_type": "granitemoe",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}

SHARED: dict[str, Any] = {
    "architectures": ["GraniteMoeSharedForCausalLM"],
    "model_type": "granitemoeshared",
    "shared_intermediate_size": 32,
}


def case(changes: Mapping[str, Any] | None = None, *, tied: bool = True, **options: Any) -> Case:
    config = {key: value for key, value in {**CONFIG, **(changes or {})}.items() if value is not ...}
    full = {**CONFIG, "num_local_experts": 8, **config}
    hidden, forward, experts = full["hidden_size"], full["intermediate_size"], full["num_local_experts"]
    shared = config.get("shared_intermediate_size")
    found = shapes(full)
    for block in range(full["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        found[f"{stem}block_sparse_moe.router.layer.weight"] = (experts, hidden)
        found[f"{stem}block_sparse_moe.input_linear.weight"] = (experts, 2 * forward, hidden)
        found[f"{stem}block_sparse_moe.output_linear.weight"] = (experts, hidden, forward)
        if shared:
            found[f"{stem}shared_mlp.input_linear.weight"] = (2 * shared, hidden)
            found[f"{stem}shared_mlp.output_linear.weight"] = (hidden, shared)
    if not tied:
        found["lm_head.weight"] = (full["vocab_size"], hidden)
    return Case(config, found, **options)


CASES = {
    "four experts": case(),
    "eight experts, untied, f16": case(
        {"num_local_experts": 8, "num_experts_per_tok": 4, "tie_word_embeddings": False}, tied=False, dtype="f16"
    ),
    "f32": case({"num_hidden_layers": 1}, dtype="f32"),
    "shared experts": case(SHARED),
    "no shared experts": case({**SHARED, "shared_intermediate_size": 0}),
    "shared experts under the other name": case({"shared_intermediate_size": 64}, logits=False),
    "few keys": case(
        {
            key: ...
            for key in CONFIG
            if key.endswith(("_multiplier", "_scaling", "_token_id", "_eps", "_theta"))
            or key in ("num_local_experts", "num_experts_per_tok", "max_position_embeddings")
        },
        logits=False,
    ),
    "rows of 40": case({"hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 1}, logits=False),
    "12 blocks in shards": case({"num_hidden_layers": 12, "intermediate_size": 32}, shards=3),
}
