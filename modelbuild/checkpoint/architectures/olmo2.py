"""OLMo 2, whose norms follow what they norm, and OLMo 3, most of whose blocks see a window of the text alone."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING, FEED_FORWARD
from modelbuild.checkpoint.config import (
    Config,
    block_count,
    layer_types_fit,
    transformers_takes,
    with_key_heads,
)
from modelbuild.checkpoint.hyperparameters import Writer, blocks_to_list
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json


class Olmo2(Architecture):
    NAME = "olmo2"
    LOADS = f"""
        {EMBEDDING} {FEED_FORWARD}
        output                    embd vocab
        blk.N.qkv                 embd values values
        blk.N.attn_output         embd embd
        blk.N.attn_q_norm         embd
        blk.N.attn_k_norm         keys
        blk.N.post_attention_norm embd
        blk.N.post_ffw_norm       embd
    """
    CLASSES = ("Olmo2ForCausalLM",)
    MODEL_TYPE = "olmo2"
    DEFAULTS = {
        "vocab_size": 50304,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": None,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    }
    NAMES = {
        **{name: known for name, known in Architecture.NAMES.items() if name != "layers.N.input_layernorm"},
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
        "layers.N.post_attention_layernorm": "blk.N.post_attention_norm",
        "layers.N.post_feedforward_layernorm": "blk.N.post_ffw_norm",
    }
    NEEDED = ("output.weight",)
    BIASES = ATTENTION_INPUTS
    FREE_HEADS = False

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Olmo2Config._rope_scaling_validation)"""
        scaling = config.get("rope_scaling")
        if scaling is None:
            return True
        if not isinstance(scaling, dict) or len(scaling) != 2 or scaling.get("type") not in ("linear", "dynamic"):
            return False
        factor = scaling.get("factor")
        return isinstance(factor, float) and factor > 1

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Olmo2Config)"""
        return with_key_heads(config)

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """(Olmo2Model.set_gguf_parameters)"""
        values = super().parameters(file_type)
        window, layers = self.config.get("sliding_window"), block_count(self.config)
        if window is None:
            return values
        # Olmo2 has no window; of Olmo3, every fourth block sees all of the text.
        types = self.config.get("layer_types")
        if types is None:
            windowed = [(block + 1) % 4 != 0 for block in blocks_to_list(self.config)]
        elif isinstance(types, list) and len(types) == layers:
            windowed = [name == "sliding_attention" for name in types]
        else:
            got = f"a list of {len(types)}" if isinstance(types, list) else in_json(types)
            raise Error(
                f"'layer_types' expects a list with one text for each of {layers} blocks, got {got}", path="config.json"
            )
        out = Writer(self.NAME, self.config)
        out.put("attention.sliding_window", "u32", window, "sliding_window")
        out.values[f"{self.NAME}.attention.sliding_window_pattern"] = encode_value("[bool]", windowed)
        return values | out.values


class Olmo3(Olmo2):
    """The same to the runtime; a configuration of its own in transformers."""

    CLASSES = ("Olmo3ForCausalLM",)
    MODEL_TYPE = "olmo3"
    DEFAULTS = {**Olmo2.DEFAULTS, "sliding_window": 4096}

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Olmo3Config)"""
        return transformers_takes(config) and layer_types_fit({**cls.DEFAULTS, **config})
