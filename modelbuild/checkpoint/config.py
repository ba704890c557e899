"""The values of config.json, which may be under different keys.

Source: llama.cpp conversion/base.py (ModelBase.load_hparams, TextModel.__init__), and transformers 4.57.6 for what it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.errors import Error
from modelbuild.words import in_json

Config = Mapping[str, Any]
"""A config.json: key -> value"""

TEXT_PARTS = ("llm_config", "lm_config", "language_config", "text_config")
"""Keys under which the configuration of a model of several parts has that of its text model (ModelBase.load_hparams)."""

_LLAMA = {"model_type": "llama"}
TEXT_DEFAULTS: Mapping[str, Config] = {
    "idefics3": _LLAMA,
    "lfm2_vl": {"model_type": "lfm2"},
    "llava": _LLAMA,
    "mistral3": {"model_type": "mistral"},
    "qwen2_audio": {"model_type": "qwen2"},
    "smolvlm": _LLAMA,
    "voxtral": {
        **_LLAMA, "vocab_size": 131072, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 30,
        "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 1e8, "head_dim": 128,
    },
}  # fmt: skip
"""The `model_type` of models of several parts -> what transformers fills in where the part of the text model lacks a key."""

UNREAD = frozenset({"audioflamingo3", "exaone4_5", "lfm2-vl", "minimax_m3_vl"})
"""The `model_type` of models of several parts that transformers 4.57.6 does not know: nothing is filled in, in no part."""


def class_of(config: Config) -> str:
    """The class a configuration names. Raises Error where it names none."""
    if name := named_class(config):
        return name
    found = config.get("architectures")
    if isinstance(found, list) and found:
        said = f"expects a list of classes, got a list with {in_json(found[0])}"
    elif found in (None, []):
        said = "is missing: it names the kind of model"
    else:
        said = f"expects a list of classes, got {in_json(found)}"
    raise Error(
        f"'architectures' {said}",
        path="config.json",
        hint='copy it from the model that this one is based on, such as ["LlamaForCausalLM"]',
    )


def named_class(config: Config) -> str:
    """The class a configuration names; "" where it names none, and the project says which it is."""
    for part in (*(config.get(key) for key in TEXT_PARTS), config):
        names = part.get("architectures") if isinstance(part, dict) else None
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
    return ""


def tower_class_of(config: Config) -> str | None:
    """The class by which a configuration's towers are read: its own or, where it names none, that of a part; None for none at all.

    (get_model_architecture.) transformers 4.57 moves the name of some models into `text_config`.
    """
    for part in (config.get("vision_config"), config, config.get("text_config")):
        names = part.get("architectures") if isinstance(part, dict) else None
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
    return None


def as_class(config: Config, class_name: str | None) -> Config:
    """The configuration with a class for that which it, or a part of it, names; as it is where None is given."""
    if class_name is None:
        return config
    parts = {key: value for key in (*TEXT_PARTS, "vision_config") if isinstance(value := config.get(key), dict)}
    bare = {key: {**value, "architectures": None} for key, value in parts.items()}
    return {**config, **bare, "architectures": [class_name]}


_ROPE_KEYS = {
    "linear": {"factor"},
    "dynamic": {"factor"},
    "yarn": {"factor"},
    "longrope": {"short_factor", "long_factor"},
    "llama3": {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"},
}


def transformers_takes(config: Config) -> bool:
    """Whether transformers reads a configuration, and so fills in defaults.

    It refuses one with half a rope_scaling; llama.cpp then goes on with the bare file (load_hparams).
    """
    scaling = config.get("rope_scaling")
    if scaling is None:
        return True
    if not isinstance(scaling, dict) or not scaling.keys() & {"type", "rope_type"}:
        return False
    name = scaling.get("type", scaling.get("rope_type"))
    return _ROPE_KEYS.get(str(name), set()) <= scaling.keys()


def layer_types_fit(config: Config) -> bool:
    """Whether transformers takes the kinds of attention that a full configuration names, block by block (layer_type_validation)."""
    types: Any = config.get("layer_types")
    known = ("full_attention", "sliding_attention", "chunked_attention", "linear_attention")
    return types is None or (
        isinstance(types, list) and all(name in known for name in types) and len(types) == block_count(config)
    )


def first(config: Config, *keys: str) -> Any:
    """The value of the first key that is there, even if it is null."""
    return next((config[key] for key in keys if key in config), None)


def number(config: Config, *keys: str) -> int:
    """A count. Raises Error where none of the keys gives one."""
    value = first(config, *keys)
    if type(value) is not int or not 0 < value < 1 << 31:
        key = next((key for key in keys if key in config), keys[-1])
        got = f"got {in_json(config[key])}" if key in config else "which is missing"
        raise Error(f"'{key}' expects a whole number of at least 1, {got}", path="config.json")
    return value


def share(value: Any, key: str) -> float:
    """A part of something, as `key` says it. Raises Error for anything but a number above 0 and at most 1."""
    if type(value) not in (int, float) or not 0 < value <= 1:
        got = in_json(value)
        raise Error(f"'{key}' expects a number above 0 and at most 1, got {got}", path="config.json")
    return float(value)


def rope_parameters(config: Config) -> dict[str, Any]:
    """The rotary embedding's parameters, in today's form whatever the form they were written in (TextModel.__init__)."""
    key = "rope_parameters" if "rope_parameters" in config else "rope_scaling"
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise Error(f"'{key}' expects an object, got {in_json(found)}", path="config.json")
    rope = dict(found)
    if "full_attention" in rope or "sliding_attention" in rope:
        return rope
    theta = first(
        config, "global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base"
    )
    local = first(
        config, "local_rope_theta", "rope_local_theta", "rope_theta_local", "swa_rope_theta", "rope_local_base_freq"
    )
    if local is not None:
        rope["sliding_attention"] = {"rope_theta": local}
    for name, value in (
        ("rope_theta", theta),
        ("rope_type", rope.get("type")),
        ("partial_rotary_factor", first(config, "partial_rotary_factor", "rope_pct", "rope_percent")),
        ("original_max_position_embeddings", first(config, "original_max_position_embeddings")),
    ):
        if name not in rope and value is not None:
            rope[name] = value
    return rope


def block_count(config: Config) -> int:
    """How many blocks a model has. Raises Error where that is not told."""
    return number(config, "n_layers", "num_hidden_layers", "n_layer", "num_layers")


def with_key_heads(config: dict[str, Any]) -> dict[str, Any]:
    """Fill in how many heads keys and values have, where nothing is said of it: as many as queries."""
    if config["num_key_value_heads"] is None:
        config["num_key_value_heads"] = number(config, "num_attention_heads")
    return config


def with_heads(config: dict[str, Any]) -> dict[str, Any]:
    """Fill in the same, and the size of a head: all heads together are as wide as the model."""
    heads = number(config, "num_attention_heads")
    if config["head_dim"] is None:
        config["head_dim"] = number(config, "hidden_size") // heads
    return with_key_heads(config)
