"""OLMo, the first: a Llama whose norms have no weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import FEED_FORWARD, OUTPUT
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.architectures.olmo2 import Olmo2
from modelbuild.checkpoint.config import Config
from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.formats.gguf import encode_value

EPSILON = 1e-5
"""That of its norms (OlmoModel.set_gguf_parameters)."""


class Olmo(Llama):
    """(llama.cpp conversion/olmo.py, OlmoModel)"""

    NAME = "olmo"
    LOADS = f"""
        token_embd                embd vocab
        {OUTPUT} {FEED_FORWARD}
        blk.N.qkv                 embd values values
        blk.N.attn_output         embd embd
    """
    CLASSES = ("OlmoForCausalLM",)
    ALIASES = ()
    MODEL_TYPE = "olmo"
    DEFAULTS = {key: value for key, value in Olmo2.DEFAULTS.items() if key != "rms_norm_eps"}
    NAMES = {name: known for name, known in Architecture.NAMES.items() if not name.endswith("norm")}
    BIASES = ATTENTION_INPUTS
    FREE_HEADS = False
    REQUIRED = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
    }
    ASKS = ("attention.layer_norm_epsilon",)

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, OlmoConfig._rope_scaling_validation)"""
        return Olmo2.takes(config)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        return Olmo2.fill(config)

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        values = base_parameters(self.NAME, self.config, file_type)
        values[f"{self.NAME}.attention.layer_norm_epsilon"] = encode_value("f32", EPSILON)
        out = Writer(self.NAME, self.config)
        out.take("attention.clamp_kqv", "f32", "clip_qkv")
        return values | out.values

    def constants(self) -> Mapping[str, bytes]:
        return {}
