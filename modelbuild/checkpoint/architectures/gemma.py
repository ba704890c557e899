"""Gemma: its norms are stored less one, and its output is its embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import ATTENTION, EMBEDDING, FEED_FORWARD
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, block_count
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.checkpoint.tokenizers.special import special_tokens
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.recipe import Expression


class Gemma(Architecture):
    NAME = "gemma"
    LOADS = EMBEDDING + ATTENTION + FEED_FORWARD
    CLASSES = ("GemmaForCausalLM",)
    MODEL_TYPE = "gemma"
    DEFAULTS = {
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
    }
    NAMES = {key: value for key, value in Architecture.NAMES.items() if key != "lm_head"}
    BIASES = ATTENTION_INPUTS

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Always: GemmaConfig looks into none of its values."""
        return True

    @cached_property
    def tokenizer(self) -> Values:
        """(GemmaModel.set_vocab) Id 107 ends a turn; those of CodeGemma's gaps have no key in GGUF."""
        values = pieces(self.checkpoint, self.config)
        kinds = ("prefix", "suffix", "middle", "fsep", "eot")
        found = special_tokens(self.checkpoint, types=kinds, fixed={"eot": 107})
        return values | found | {"tokenizer.ggml.add_space_prefix": encode_value("bool", False)}

    def parameters(self, file_type: int) -> Values:
        """(GemmaModel.set_gguf_parameters)"""
        config = self.config
        heads = "num_key_value_heads" if "num_key_value_heads" in config else "num_attention_heads"
        out = Writer(self.NAME, config)
        require(out, "context_length", "u32", "max_position_embeddings")
        require(out, "embedding_length", "u32", "hidden_size")
        out.put("block_count", "u32", block_count(config), "num_hidden_layers")
        require(out, "feed_forward_length", "u32", "intermediate_size")
        require(out, "attention.head_count", "u32", "num_attention_heads")
        require(out, "attention.head_count_kv", "u32", heads)
        require(out, "attention.layer_norm_rms_epsilon", "f32", "rms_norm_eps")
        require(out, "attention.key_length", "u32", "head_dim")
        require(out, "attention.value_length", "u32", "head_dim")
        return out.values | {"general.file_type": encode_value("u32", file_type)}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        for source, x in sources.items():
            if source != "lm_head.weight":
                yield self.rename(source), whole_norm(source, x)


def pieces(checkpoint: Checkpoint, config: Config) -> Values:
    """The vocabulary of tokenizer.model. Raises Error where there is none: llama.cpp reads Gemma's tokenizer from there alone."""
    values = tokenizers.sentencepiece(checkpoint, tokenizers.vocabulary_size(config))
    if values is None:
        raise Error(
            "the tokenizer is missing: expected tokenizer.model beside config.json",
            hint="copy it from the model that this one is based on",
        )
    return values


def require(out: Writer, key: str, value_type: str, source: str) -> None:
    """Write a value that the runtime cannot do without. Raises Error where the configuration lacks it."""
    if out.config.get(source) is None:
        words = {"u32": "a whole number of at least 0", "f32": "a number"}[value_type]
        got = "got null" if source in out.config else "which is missing"
        raise Error(f"'{source}' expects {words}, {got}", path="config.json")
    out.take(key, value_type, source)


def whole_norm(source: str, x: Expression) -> Expression:
    """A tensor as the runtime wants it: norms with the one that Gemma leaves out (GemmaModel.modify_tensors)."""
    return add_one(x) if source.endswith("norm.weight") else x
