"""Starling: a Llama whose checkpoints use other names, for tensors and in config.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelbuild.extend import Error, Expression, Llama

STEMS = {
    "embedding": "model.embed_tokens",
    "final_norm": "model.norm",
    "head": "lm_head",
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}


class Starling(Llama):
    CLASSES = ("StarlingForCausalLM",)
    MODEL_TYPE = "starling"
    DEFAULTS = {**Llama.DEFAULTS, "width": 2048, "depth": 16}

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Rename the keys of Starling to those of Llama."""
        config["hidden_size"], config["num_hidden_layers"] = config["width"], config["depth"]
        return super().fill(config)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterable[tuple[str, Expression]]:
        return super().tensors({as_llama(name): x for name, x in sources.items()})


def as_llama(name: str) -> str:
    """`blocks.3.attention.query.weight` is Llama's `model.layers.3.self_attn.q_proj.weight`."""
    block, stem, suffix = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.*?)(\.weight|\.bias|)", name, re.DOTALL).groups()
    if stem not in STEMS:
        raise Error(f"tensor '{name}' cannot be mapped: a Starling has no such tensor")
    return (f"model.layers.{block}." if block else "") + STEMS[stem] + suffix
