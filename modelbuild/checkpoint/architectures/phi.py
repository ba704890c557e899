"""Phi-1, 1.5 and 2: attention and feed forward side by side, biases throughout, a part of each head turns."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING
from modelbuild.checkpoint.config import block_count, number, rope_parameters, share, with_key_heads
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.formats.gguf import encode_value

_BIASED = ("output_norm", "output", *(f"blk.N.{stem}" for stem in ("attn_norm", "attn_output", "ffn_up", "ffn_down")))
_ATTENTION = {name: known for name, known in NAMES.items() if name.endswith(("q_proj", "k_proj", "v_proj"))}


class Phi(Architecture):
    """(llama.cpp conversion/phi.py, Phi2Model)"""

    NAME = "phi2"
    LOADS = f"""
        {EMBEDDING}
        output_norm.bias          embd
        output                    embd vocab
        output.bias               vocab
        blk.N.attn_norm           embd
        blk.N.attn_norm.bias      embd
        blk.N.qkv                 embd values values
        blk.N.attn_output         embd embd
        blk.N.attn_output.bias    embd
        blk.N.ffn_up              embd ff
        blk.N.ffn_up.bias         ff
        blk.N.ffn_down            ff embd
        blk.N.ffn_down.bias       embd
    """
    CLASSES = ("PhiForCausalLM",)
    MODEL_TYPE = "phi"
    DEFAULTS = {
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": None,
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
    }
    NAMES = _ATTENTION | {
        "embed_tokens": "token_embd",
        "final_layernorm": "output_norm",
        "lm_head": "output",
        "layers.N.input_layernorm": "blk.N.attn_norm",
        "layers.N.self_attn.dense": "blk.N.attn_output",
        "layers.N.mlp.fc1": "blk.N.ffn_up",
        "layers.N.mlp.fc2": "blk.N.ffn_down",
    }
    SHAPES = """
        output_norm.bias          embd
        blk.N.attn_norm.bias      embd
        blk.N.ffn_up              embd ff
    """
    NEEDED = ("output.weight", *(f"{stem}.bias" for stem in _BIASED))
    BIASES = r"output|output_norm|blk\.N\.(attn_(q|k|v|norm|output)|ffn_(up|down))"
    FREE_HEADS = False
    REQUIRED = {}
    ASKS = ("attention.layer_norm_epsilon",)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, PhiConfig)"""
        return with_key_heads(config)

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """(Phi2Model.set_gguf_parameters)"""
        config = self.config
        width, heads = number(config, "hidden_size", "n_embd"), number(config, "num_attention_heads", "n_head")
        part = share(rope_parameters(config).get("partial_rotary_factor"), "partial_rotary_factor")
        out = Writer(self.NAME, config)
        for key, value in (
            ("context_length", number(config, "n_positions", "max_position_embeddings")),
            ("embedding_length", width),
            ("feed_forward_length", 4 * width),
            ("block_count", block_count(config)),
            ("attention.head_count", heads),
            ("attention.head_count_kv", heads),
        ):
            out.put(key, "u32", value, key)
        out.take("attention.layer_norm_epsilon", "f32", "layer_norm_epsilon", "layer_norm_eps")
        out.put("rope.dimension_count", "u32", int(part * width) // heads, "partial_rotary_factor")
        out.values["general.file_type"] = encode_value("u32", file_type)
        out.values["tokenizer.ggml.add_bos_token"] = encode_value("bool", False)
        return out.values
