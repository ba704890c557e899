"""Architectures: which checkpoints are read, and what GGUF metadata and tensors come of them.

An architecture is the file named after it: a subclass of `Architecture`. What many of them share is below.
Source: llama.cpp conversion/base.py (TextModel), read for the release that llama-cpp-python 0.3.36 carries.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import Any, ClassVar

from modelbuild import plugins
from modelbuild.checkpoint.checkpoint import Checkpoint, kind
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression
from modelbuild.words import listed

Config = Mapping[str, Any]
"""A config.json: key -> value"""

Values = dict[str, bytes]
"""Metadata of a GGUF file: key -> value as `encode_value` spells it"""


NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
    "layers.N.input_layernorm": "blk.N.attn_norm",
    "layers.N.post_attention_layernorm": "blk.N.ffn_norm",
    "layers.N.self_attn.q_proj": "blk.N.attn_q",
    "layers.N.self_attn.k_proj": "blk.N.attn_k",
    "layers.N.self_attn.v_proj": "blk.N.attn_v",
    "layers.N.self_attn.o_proj": "blk.N.attn_output",
    "layers.N.mlp.gate_proj": "blk.N.ffn_gate",
    "layers.N.mlp.up_proj": "blk.N.ffn_up",
    "layers.N.mlp.down_proj": "blk.N.ffn_down",
}
"""What most checkpoints of transformers call their tensors, and what GGUF calls them; N is the number of a block."""


ATTENTION_INPUTS = r"blk\.N\.attn_(q|k|v|qkv)"
"""Stems whose biases the runtime reads in every model (llama.cpp src/llama-model.cpp, create_tensor_qkv)."""


class Architecture:
    """One architecture, reading one checkpoint. A file of this folder holds a subclass, which says where it differs.

    NAME        `general.architecture`
    CLASSES     the names in `architectures` of config.json that it reads
    MODEL_TYPE  the `model_type` under which transformers knows its configuration
    DEFAULTS    what transformers 4.57.6 fills in where a configuration of that type lacks a key
    NAMES       stems of the checkpoint's tensors -> stems of GGUF's; N is the number of a block
    QUANTIZED   methods of quantization (`quant_method`) whose tensors it reads as they are stored
    NEEDED      tensors of the file that llama.cpp's runtime asks for besides the weights of NAMES
    BIASES      stems whose biases its runtime reads, as a regular expression
    FREE_HEADS  whether its runtime reads heads that are together not as large as hidden_size
    REQUIRED    metadata that its runtime asks for, and the keys of config.json from which it comes
    LOADS       the tensors that its runtime loads, as a table (see _loads.py); empty: files of it are not judged
    ASKS        metadata that its runtime asks for besides what it asks of every model
    """

    NAME: ClassVar[str]
    CLASSES: ClassVar[tuple[str, ...]] = ()
    MODEL_TYPE: ClassVar[str] = ""
    DEFAULTS: ClassVar[Config] = {}
    NAMES: ClassVar[Mapping[str, str]] = NAMES
    QUANTIZED: ClassVar[tuple[str, ...]] = ()
    NEEDED: ClassVar[tuple[str, ...]] = ()
    BIASES: ClassVar[str] = ".*"
    FREE_HEADS: ClassVar[bool] = True
    REQUIRED: ClassVar[Mapping[str, str]] = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    }
    LOADS: ClassVar[str] = ""
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = complete(checkpoint.config, type(self))

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Whether transformers reads a configuration of this type; the bare file counts where it does not."""
        return transformers_takes(config)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """What transformers derives from other keys; `config` has the defaults."""
        return config

    @cached_property
    def tokenizer(self) -> Values:
        """The `tokenizer.*` metadata: SentencePiece where there is a tokenizer.model, else byte pairs."""
        size = tokenizers.vocabulary_size(self.config)
        return tokenizers.sentencepiece(self.checkpoint, size) or tokenizers.byte_pairs(self.checkpoint, size)

    def preface(self) -> Values:
        """Metadata that stands before `general.type`."""
        return {}

    def parameters(self, file_type: int) -> Values:
        """The hyper-parameters, `general.file_type` among them, in the order of the file."""
        return base_parameters(self.NAME, self.config, file_type)

    def constants(self) -> Mapping[str, bytes]:
        """Tensors of f32 with one dimension that no checkpoint holds, by name; they come first in the file."""
        return {}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterable[tuple[str, Expression]]:
        """The tensors of the file, before they get their final type, in its order.

        sources  the checkpoint's tensors in their order, without those that no model of text needs
        """
        for source, x in sources.items():
            yield self.rename(source), x

    def rename(self, source: str) -> str:
        """The GGUF name of a checkpoint's tensor. Raises Error for one that stands for nothing."""
        return rename(source, self.NAMES, block_count(self.config))


def readers() -> dict[str, type[Architecture]]:
    """Class -> the architecture among ours that reads checkpoints of it."""
    return {name: kind for kind in known() for name in kind.CLASSES}


def find(class_name: str, package: str | None = None) -> type[Architecture]:
    """The architecture that reads checkpoints of a class. Raises Error for one that no file reads.

    package  name and version of the package that brings one from outside, for a class that is not among ours
    """
    found = readers()
    if class_name not in found:
        if package is not None:
            return _from_outside(class_name, package)
        raise Error(
            f"architecture '{class_name}' is not built yet",
            path="config.json",
            facts=[("known", listed(sorted(found), len(found)))],
            hint="convert it with llama.cpp's convert_hf_to_gguf.py, and name the GGUF file in FROM",
        )
    return found[class_name]


def _from_outside(class_name: str, package: str) -> type[Architecture]:
    plugin = plugins.find(plugins.ARCHITECTURES, class_name)
    if plugin is None or plugin.package != package:
        got = "is not installed" if plugin is None else f"was expected, got '{plugin.package}'"
        raise Error(f"the package '{package}', which reads '{class_name}', {got}", path="config.json")
    loaded = plugin.load()
    if not isinstance(loaded, type) or not issubclass(loaded, Architecture) or not hasattr(loaded, "NAME"):
        raise Error(
            f"'{class_name}' of the package '{package}' expects a subclass of Architecture with a NAME, got {loaded!r}"
        )
    return loaded


@cache
def known() -> tuple[type[Architecture], ...]:
    """Those that the files of this folder hold."""
    files = sorted(name[:-3] for name in os.listdir(os.path.dirname(__file__)) if name.endswith(".py"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in files if not name.startswith("_")]
    return tuple(
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Architecture) and value.__module__ == module.__name__
    )


def complete(config: Config, reader: type[Architecture] = Architecture) -> Config:
    """The configuration as the converter sees it: filled in as transformers does, the text model's part over the rest.

    reader  the architecture that asks, which need not be among ours
    Source: load_hparams, TextModel.__init__
    """
    whole = _filled(config, reader)
    for key in ("llm_config", "lm_config", "language_config", "text_config"):
        part = whole.get(key)
        if isinstance(part, dict):
            return {**whole, **_filled(part, reader)}
    return whole


def _filled(config: Config, reader: type[Architecture]) -> Config:
    model_type = config.get("model_type")
    owner = next((kind for kind in (*known(), reader) if model_type and model_type == kind.MODEL_TYPE), None)
    if owner is None or not owner.takes(config):
        return config
    full = owner.fill({**owner.DEFAULTS, **config})
    scaling = full.get("rope_scaling")
    if isinstance(scaling, dict) and "type" in scaling:
        full["rope_scaling"] = {**scaling, "rope_type": scaling["type"]}
    return full


def class_of(config: Config) -> str:
    """The class a configuration names. Raises Error where it names none."""
    text = config.get("text_config")
    for part in (text, config):
        names = part.get("architectures") if isinstance(part, dict) else None
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
    got = kind(config["architectures"]) if config.get("architectures") not in (None, []) else None
    raise Error(
        "'architectures' "
        + (f"expects a list of classes, got {got}" if got else "is missing: it says which kind of model this is"),
        path="config.json",
        hint='take it from the model that this one was made from, such as ["LlamaForCausalLM"]',
    )


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
        got = f"got {kind(config[key])}" if key in config else "which is missing"
        raise Error(f"'{key}' expects a whole number of 1 or more, {got}", path="config.json")
    return value


def rope_parameters(config: Config) -> dict[str, Any]:
    """The rotary embedding's parameters, in today's form whatever the form they were written in (TextModel.__init__)."""
    key = "rope_parameters" if "rope_parameters" in config else "rope_scaling"
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise Error(f"'{key}' expects an object, got {kind(found)}", path="config.json")
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
        ("original_max_position_embeddings", first(config, "original_max_position_embeddings")),
    ):
        if name not in rope and value is not None:
            rope[name] = value
    return rope


class Writer:
    """Metadata of an architecture, out of a configuration."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.config = config
        self.values: Values = {}

    def take(self, key: str, form: str, *sources: str) -> None:
        """Write the value of the first key of the configuration that is there; nothing where it is null."""
        source = next((source for source in sources if source in self.config), "")
        self.put(key, form, self.config.get(source), source)

    def put(self, key: str, form: str, value: Any, source: str) -> None:
        """Write one value, which the configuration calls `source`. Raises Error for one of another type."""
        if value is None:
            return
        try:
            self.values[f"{self.name}.{key}"] = encode_value(form, value)
        except Error:
            words = {"u32": "a whole number from 0", "f32": "a number", "[i32]": "whole numbers"}[form]
            raise Error(f"'{source}' expects {words}, got {kind(value)}", path="config.json") from None


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


def block_count(config: Config) -> int:
    return number(config, "n_layers", "num_hidden_layers", "n_layer", "num_layers")


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
        raise Error(f"the experts' gating expects one of {', '.join(known)}, got {kind(name)}", path="config.json")
    return known[name]


def rename(name: str, names: Mapping[str, str], blocks: int) -> str:
    """The GGUF name of a checkpoint's tensor. Raises Error for one that stands for nothing."""
    stem, _, suffix = name.removeprefix("model.").rpartition(".")
    block = re.match(r"layers\.(0|[1-9][0-9]{0,9})\.", stem)
    key = f"layers.N.{stem[block.end() :]}" if block else stem
    in_range = int(block[1]) < blocks if block else not stem.startswith("layers.")
    if key not in names or not in_range or suffix not in ("weight", "bias"):
        raise Error(
            f"tensor '{name}' cannot be mapped: this architecture has no such tensor",
            facts=[("blocks", f"{blocks} (num_hidden_layers)")],
            hint="config.json is not this checkpoint's, or the checkpoint holds more than the model: an adapter, a value head",
        )
    known = names[key].replace("N", block[1]) if block else names[key]
    return f"{known}.{suffix}"


def is_wanted(name: str) -> bool:
    """Whether a model of text needs this tensor of a checkpoint (filter_tensors, prepare_tensors)."""
    starts = (
        "mlp", "vit.", "vpm.", "siglip2.", "conformer.", "merger.", "resampler.", "sound_encoder.", "sound_projection.",
        "speech_embeddings.",
    )  # fmt: skip
    parts = (
        "visual.", "vision.", "audio.", "talker.", "vision_", "audio_", "token2wav.", "code2wav.", "projector.",
        "pre_mm_projector_norm", "image_newline", "view_seperator", "patch_embed", "patch_merger.", "patch_merge_mlp.",
        "model.connector.",
    )  # fmt: skip
    ends = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")
    return not (name.startswith(starts) or any(part in name for part in parts) or name.endswith(ends))
