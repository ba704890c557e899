"""Hyper-parameters as GGUF metadata, out of a configuration.

Source: llama.cpp conversion/base.py (TextModel.set_gguf_parameters)
"""

from __future__ import annotations

import math
from typing import Any

from modelbuild.checkpoint.config import Config, block_count, first, number, rope_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json

BLOCKS_LIMIT, EXPERTS_LIMIT = 512, 1024
"""The most that llama.cpp's runtime knows (src/llama-hparams.h)."""


_WORDS = {
    "u32": "a whole number of at least 0", "f32": "a number", "[i32]": "whole numbers", "str": "a text", "[str]": "texts",
}  # fmt: skip


def blocks_to_list(config: Config) -> range:
    """The blocks of a model, where a list of all is made. Raises Error for more than the runtime allows."""
    if (blocks := block_count(config)) > BLOCKS_LIMIT:
        raise Error(f"'num_hidden_layers' expects at most {BLOCKS_LIMIT}, got {blocks:,}", path="config.json")
    return range(blocks)


class Writer:
    """Metadata of an architecture, out of a configuration.

    name    `general.architecture`, with which each key begins
    values  what has been written, in the order of the file
    """

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.config = config
        self.values: Values = {}

    def take(self, key: str, value_type: str, *sources: str) -> None:
        """Write the value of the first key of the configuration that is there; nothing where it is null."""
        source = next((source for source in sources if source in self.config), "")
        self.put(key, value_type, self.config.get(source), source)

    def put(self, key: str, value_type: str, value: Any, source: str) -> None:
        """Write one value, which the configuration calls `source`. Raises Error for one of another type."""
        if value is None:
            return
        if isinstance(value, float) and not math.isfinite(value):
            raise Error(
                f"'{source}' expects a finite number, got {value}",
                path="config.json",
                hint="llama.cpp's converter would write it, and the model would output garbage: take it from the model's own config.json",
            )
        try:
            self.values[f"{self.name}.{key}"] = encode_value(value_type, value)
        except Error:
            raise Error(f"'{source}' expects {_WORDS[value_type]}, got {in_json(value)}", path="config.json") from None


def base_parameters(name: str, config: Config, file_type: int) -> Values:
    """The hyper-parameters that most architectures share, each where its source is there (TextModel.set_gguf_parameters)."""
    out = Writer(name, config)
    out.put("block_count", "u32", block_count(config), "num_hidden_layers")
    out.take(
        "context_length", "u32", "max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length", "model_max_length",
    )  # fmt: skip
    out.take("embedding_length", "u32", "hidden_size", "n_embd", "dim")
    out.take(
        "feed_forward_length", "u32",
        "prefix_dense_intermediate_size", "dense_intermediate_size", "intermediate_size", "n_inner", "hidden_dim",
    )  # fmt: skip
    out.take("attention.head_count", "u32", "num_attention_heads", "n_head", "n_heads")
    out.take("attention.head_count_kv", "u32", "num_key_value_heads", "n_kv_heads")
    if config.get("is_causal") is False:
        out.values[f"{name}.attention.causal"] = encode_value("bool", False)
    _rope(out, rope_parameters(config))
    out.take("attention.layer_norm_rms_epsilon", "f32", "rms_norm_eps", "norm_eps")
    out.take("attention.layer_norm_epsilon", "f32", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")
    out.take("expert_count", "u32", "num_local_experts", "num_experts", "n_routed_experts")
    out.take("expert_used_count", "u32", "num_experts_per_tok", "num_experts_per_token", "top_k_experts")
    out.take("expert_group_count", "u32", "n_group")
    out.take("expert_group_used_count", "u32", "topk_group")
    out.put("expert_gating_func", "u32", _gating(config), "scoring_func")
    out.take("attention.key_length", "u32", "head_dim")
    out.take("attention.value_length", "u32", "head_dim")
    return out.values | {"general.file_type": encode_value("u32", file_type)}


def _rope(out: Writer, parameters: dict[str, Any]) -> None:
    rope = parameters.get("full_attention", parameters)
    sliding = parameters.get("sliding_attention", {})
    if not isinstance(rope, dict) or not isinstance(sliding, dict):
        raise Error("'rope_parameters' expects an object for each kind of attention", path="config.json")
    kind_of, factor = rope.get("rope_type"), rope.get("factor")
    if kind_of in ("linear", "yarn") and factor is not None:
        out.values[f"{out.name}.rope.scaling.type"] = encode_value("str", kind_of)
        out.put("rope.scaling.factor", "f32", factor, "factor")
        if kind_of == "yarn":
            context = "original_max_position_embeddings"
            out.put("rope.scaling.original_context_length", "u32", number(rope, context), context)
            for key, names in (
                ("ext_factor", ("extrapolation_factor",)),
                ("attn_factor", ("attention_factor", "attn_factor")),
                ("beta_fast", ("beta_fast",)),
                ("beta_slow", ("beta_slow",)),
            ):
                out.put(f"rope.scaling.yarn_{key}", "f32", first(rope, *names), names[0])
    elif kind_of in ("su", "longrope"):
        out.values[f"{out.name}.rope.scaling.type"] = encode_value("str", "longrope")
    sections = parameters.get("mrope_section")
    if isinstance(sections, list):
        out.put("rope.dimension_sections", "[i32]", [*sections, 0, 0, 0, 0][:4], "mrope_section")
    out.put("rope.freq_base", "f32", rope.get("rope_theta"), "rope_theta")
    out.put("rope.freq_base_swa", "f32", sliding.get("rope_theta"), "rope_theta")


def _gating(config: Config) -> int | None:
    keys = ("score_function", "scoring_func", "score_func", "moe_router_activation", "moe_router_activation_func")
    name = first(config, *keys, "expert_selection_fn")
    known = {"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}
    if name is None:
        return None
    if not isinstance(name, str) or name not in known:
        raise Error(f"the experts' gating expects one of {', '.join(known)}, got {in_json(name)}", path="config.json")
    return known[name]
