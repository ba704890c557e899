"""Cohere's Command R, R+ and Aya: attention and feed forward side by side, over one norm; the output is the embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING, FEED_FORWARD
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, first, number, transformers_takes, with_key_heads
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

_WITHOUT = ("lm_head", "layers.N.post_attention_layernorm")
NORMS = ("layers.N.self_attn.q_norm", "layers.N.self_attn.k_norm")
NORMED_FROM = 64
"""So many blocks or more have norms of queries and keys, fewer have none (llama.cpp src/models/command-r.cpp)."""

PARALLEL = f"""
    {EMBEDDING} {FEED_FORWARD}
    blk.N.attn_norm           embd
    blk.N.qkv                 embd values values
    blk.N.attn_output         embd embd
"""


class Cohere(Architecture):
    """(llama.cpp conversion/command_r.py, CommandR2Model)"""

    NAME = "command-r"
    LOADS = f"""
        {PARALLEL}
        blk.N.attn_q_norm?        head heads
        blk.N.attn_k_norm?        head kv_heads
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("CohereForCausalLM",)
    MODEL_TYPE = "cohere"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 256000,
        "hidden_size": 8192,
        "intermediate_size": 22528,
        "logit_scale": 0.0625,
        "num_hidden_layers": 40,
        "num_attention_heads": 64,
        "num_key_value_heads": None,
        "max_position_embeddings": 8192,
        "layer_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "rope_theta": 10000.0,
    }
    NAMES: ClassVar[Mapping[str, str]] = {
        name: known for name, known in Architecture.NAMES.items() if name not in _WITHOUT
    } | {name: f"blk.N.attn_{name.rpartition('.')[2]}" for name in NORMS}
    SHAPES = """
        blk.N.attn_q_norm         head heads
        blk.N.attn_k_norm         head kv_heads
    """
    BIASES = ATTENTION_INPUTS
    FREE_HEADS = False
    REQUIRED = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_epsilon": "layer_norm_eps",
    }
    ASKS = ("attention.layer_norm_epsilon",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        """(CommandR2Model.__init__) The first releases of Command R say a shorter context than they were trained with."""
        super().__init__(checkpoint)
        context = first(self.config, "model_max_length", "max_position_embeddings")
        self.config = {**self.config, "max_position_embeddings": context}

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, CohereConfig) It knows no older name of `rope_type`."""
        return transformers_takes(config) and "rope_type" in (config.get("rope_scaling") or {"rope_type": "default"})

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, CohereConfig)"""
        return with_key_heads(config)

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def has(self, stem: str, block: int) -> bool:
        return self.blocks.stop >= NORMED_FROM or not stem.endswith(("attn_q_norm", "attn_k_norm"))

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        heads = number(self.config, "num_key_value_heads", "num_attention_heads")
        return {"kv_heads": (heads, "num_key_value_heads")}

    def parameters(self, file_type: int) -> Values:
        """(CommandR2Model.set_gguf_parameters)"""
        return super().parameters(file_type) | scaled_logits(self.NAME, self.config) | unscaled(self.NAME)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        blocks = self.blocks.stop
        for source, x in sources.items():
            name = self.rename(source)
            if not self.has(name.removesuffix(".weight"), 0):
                raise Error(
                    f"tensor '{source}' is a norm of queries or keys, which llama.cpp's runtime reads only in models of "
                    f"{NORMED_FROM} blocks or more, and this one has {blocks}",
                    hint="llama.cpp would refuse the file",
                )
            yield name, x


def scaled_logits(name: str, config: Config) -> Values:
    """By how much the output is multiplied. Raises Error where the configuration does not tell."""
    out = Writer(name, config)
    scale = config.get("logit_scale")
    if type(scale) not in (int, float):
        got = f"got {in_json(scale)}" if "logit_scale" in config else "which is missing"
        raise Error(f"'logit_scale' expects a number, {got}", path="config.json")
    out.put("logit_scale", "f32", scale, "logit_scale")
    return out.values


def unscaled(name: str) -> Values:
    """No scaling of the rotary embedding, whatever the configuration says."""
    return {f"{name}.rope.scaling.type": encode_value("str", "none")}
