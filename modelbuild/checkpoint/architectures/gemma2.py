"""Gemma 2: norms before and after attention and feed-forward, and caps on logits."""

from __future__ import annotations

from functools import cached_property

from modelbuild.checkpoint.architectures._loads import ATTENTION, EMBEDDING, FEED_FORWARD
from modelbuild.checkpoint.architectures.gemma import Gemma, pieces, require
from modelbuild.checkpoint.config import Config, layer_types_fit
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.tensors.formats.gguf import encode_value

NAMES = {
    **Gemma.NAMES,
    "layers.N.post_attention_layernorm": "blk.N.post_attention_norm",
    "layers.N.pre_feedforward_layernorm": "blk.N.ffn_norm",
    "layers.N.post_feedforward_layernorm": "blk.N.post_ffw_norm",
}


class Gemma2(Gemma):
    NAME = "gemma2"
    LOADS = f"""
        {EMBEDDING} {ATTENTION} {FEED_FORWARD}
        blk.N.post_attention_norm embd
        blk.N.post_ffw_norm       embd
    """
    CLASSES = ("Gemma2ForCausalLM",)
    MODEL_TYPE = "gemma2"
    DEFAULTS = {
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "sliding_window": 4096,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
    }
    NAMES = NAMES

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Gemma2Config)"""
        return layer_types_fit({**cls.DEFAULTS, **config})

    @cached_property
    def tokenizer(self) -> Values:
        """(Gemma2Model.set_vocab)"""
        return pieces(self.checkpoint, self.config) | {"tokenizer.ggml.add_space_prefix": encode_value("bool", False)}

    def parameters(self, file_type: int) -> Values:
        """(Gemma2Model.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        require(out, "attn_logit_softcapping", "f32", "attn_logit_softcapping")
        require(out, "final_logit_softcapping", "f32", "final_logit_softcapping")
        require(out, "attention.sliding_window", "u32", "sliding_window")
        return super().parameters(file_type) | out.values
