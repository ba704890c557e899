"""Gemma 3: a Gemma 2 with norms over queries and keys in place of caps; the text part of those that see, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import ATTENTION, EMBEDDING, FEED_FORWARD, OUTPUT
from modelbuild.checkpoint.architectures.gemma import require, whole_norm
from modelbuild.checkpoint.architectures.gemma2 import NAMES
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, layer_types_fit, number, rope_parameters, transformers_takes
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json


class Gemma3(Architecture):
    NAME = "gemma3"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {ATTENTION} {FEED_FORWARD}
        blk.N.post_attention_norm embd
        blk.N.attn_k_norm         head
        blk.N.attn_q_norm         head
        blk.N.post_ffw_norm       embd
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("Gemma3ForCausalLM",)
    MODEL_TYPE = "gemma3_text"
    DEFAULTS: ClassVar[Config] = {
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "sliding_window": 4096,
    }
    NAMES: ClassVar[Mapping[str, str]] = {
        **NAMES,
        "lm_head": "output",
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
    }
    BIASES = ATTENTION_INPUTS

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Gemma3TextConfig) Here `rope_scaling` must say `rope_type`, by that name."""
        scaling, full = config.get("rope_scaling"), {**cls.DEFAULTS, **config}
        named = scaling is None or (isinstance(scaling, dict) and "rope_type" in scaling)
        return named and transformers_takes(config) and layer_types_fit(full)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Gemma3TextConfig) A window to both sides is told by its half."""
        if config.get("use_bidirectional_attention"):
            config["sliding_window"] = number(config, "sliding_window") // 2 + 1
        return config

    @cached_property
    def tokenizer(self) -> Values:
        """(Gemma3Model.set_vocab)"""
        size = tokenizers.vocabulary_size(self.config)
        values = tokenizers.sentencepiece(self.checkpoint, size)
        if values is None:
            return tokenizers.byte_pairs(self.checkpoint, size)
        return values | {"tokenizer.ggml.add_space_prefix": encode_value("bool", False)}

    def parameters(self, file_type: int) -> Values:
        """(Gemma3Model.set_gguf_parameters) The last resort are defaults of llama.cpp's own."""
        shared = super().parameters(file_type)
        rope = rope_parameters(self.config)
        rope = rope.get("full_attention", rope)
        config = {
            "max_position_embeddings": 131072, "num_attention_heads": 8, "rms_norm_eps": 1e-6, "head_dim": 256,
            "num_key_value_heads": 4, **self.config,
        }  # fmt: skip
        if config.get("attn_logit_softcapping") is not None:
            got = in_json(config["attn_logit_softcapping"])
            raise Error(
                f"'attn_logit_softcapping' expects null, since Gemma 3 has no such cap, got {got}", path="config.json"
            )
        out = Writer(self.NAME, config)
        require(out, "context_length", "u32", "max_position_embeddings")
        require(out, "attention.head_count", "u32", "num_attention_heads")
        require(out, "attention.layer_norm_rms_epsilon", "f32", "rms_norm_eps")
        require(out, "attention.key_length", "u32", "head_dim")
        require(out, "attention.value_length", "u32", "head_dim")
        out.put("rope.freq_base", "f32", rope.get("rope_theta", 1e6), "rope_theta")
        out.put(
            "final_logit_softcapping", "f32", config.get("final_logit_softcapping") or None, "final_logit_softcapping"
        )
        if config.get("sliding_window_pattern") != 1:
            require(out, "attention.sliding_window", "u32", "sliding_window")
        require(out, "attention.head_count_kv", "u32", "num_key_value_heads")
        return shared | out.values

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(Gemma3Model.modify_tensors) The embedding's rows beyond the last token go.

        Of a tokenizer.json llama.cpp keeps as many as it counts tokens there, padding left out. Where that is another number than
        the file's tokens, its runtime would not load the file; so it is their number here.
        """
        rows = tokenizers.tokens_in(self.tokenizer)
        for source, x in sources.items():
            if "embed_tokens.weight" in source and len(x.shape) > 1 and x.shape[0] > rows:
                x = slice_(x, 0, 0, rows)
            yield self.rename(source), whole_norm(source, x)


class Gemma3ForConditionalGeneration(Gemma3):
    """One that sees: its configuration holds that of the text model, with the same defaults."""

    CLASSES = ("Gemma3ForConditionalGeneration",)
    MODEL_TYPE = "gemma3"
    DEFAULTS = {}

    def __init__(self, checkpoint: Checkpoint) -> None:
        text = checkpoint.config.get("text_config")
        if not isinstance(text, dict | None):
            raise Error(f"'text_config' expects an object, got {in_json(text)}", path="config.json")
        super().__init__(checkpoint)

    @classmethod
    def takes(cls, config: Config) -> bool:
        text = config.get("text_config")
        return text is None or (isinstance(text, dict) and Gemma3.takes(text))

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Gemma3Config) The text part is a Gemma3TextConfig, whatever it calls itself."""
        config["text_config"] = {**(config.get("text_config") or {}), "model_type": Gemma3.MODEL_TYPE}
        return config
