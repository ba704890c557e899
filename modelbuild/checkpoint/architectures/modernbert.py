"""ModernBERT: an encoder with gates and rotary positions, of whose blocks every third sees more than a window."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from modelbuild.checkpoint.architectures._bert import Encoder
from modelbuild.checkpoint.config import first, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.formats.gguf import encode_value


class ModernBert(Encoder):
    NAME = "modern-bert"
    LOADS = """
        token_embd                embd vocab
        token_embd_norm           embd
        output_norm               embd
        blk.N.attn_norm?          embd
        blk.N.attn_qkv            embd 3*embd
        blk.N.attn_output         embd embd
        blk.N.ffn_norm            embd
        blk.N.ffn_up              embd 2*ff
        blk.N.ffn_down            ff embd
        cls?                      embd embd
        cls.norm?                 embd
        cls.output?               embd labels
        cls.output.bias?          labels
    """
    CLASSES = ("ModernBertModel", "ModernBertForMaskedLM", "ModernBertForSequenceClassification")
    MODEL_TYPE = "modernbert"
    DEFAULTS = {
        "vocab_size": 50368,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "max_position_embeddings": 8192,
        "norm_eps": 1e-5,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "local_attention": 128,
        "global_attn_every_n_layers": 3,
        "hidden_activation": "gelu",
        "classifier_pooling": "cls",
        "pad_token_id": 50283,
        "bos_token_id": 50281,
        "eos_token_id": 50282,
        "sep_token_id": 50282,
        "cls_token_id": 50281,
    }
    NAMES = {
        "embeddings.tok_embeddings": "token_embd",
        "embeddings.norm": "token_embd_norm",
        "layers.N.attn_norm": "blk.N.attn_norm",
        "layers.N.attn.Wqkv": "blk.N.attn_qkv",
        "layers.N.attn.Wo": "blk.N.attn_output",
        "layers.N.mlp_norm": "blk.N.ffn_norm",
        "layers.N.mlp.Wi": "blk.N.ffn_up",
        "layers.N.mlp.Wo": "blk.N.ffn_down",
        "final_norm": "output_norm",
        "head.dense": "cls",
        "head.norm": "cls.norm",
        "classifier": "cls",
        "classifier.out_proj": "cls.output",
    }
    NEEDED = ()
    BIASES = r"cls\.output"

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The class's own key for what the runtime asks for; without the other, llama.cpp's converter makes a file that does not load."""
        if first(config, "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon") is None:
            config["layer_norm_eps"] = config.get("norm_eps")
        return super().fill(config)

    @cached_property
    def tokenizer(self) -> Values:
        """(ModernBertModel.set_vocab)"""
        ends = {f"tokenizer.ggml.add_{name}_token": encode_value("bool", True) for name in ("bos", "eos", "sep")}
        return ends | tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """(ModernBertModel.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        out.put("attention.sliding_window", "u32", number(self.config, "local_attention"), "local_attention")
        every = "global_attn_every_n_layers"
        out.put("attention.sliding_window_pattern", "u32", self.config.get(every), every)
        out.put("rope.scaling.type", "str", "none", "")
        out.put("vocab_size", "u32", number(self.config, "vocab_size"), "vocab_size")
        out.put("hidden_activation", "str", self.config.get("hidden_activation") or None, "hidden_activation")
        return super().parameters(file_type) | out.values

    def has(self, stem: str, block: int) -> bool:
        """The first block does not normalize what the embedding's norm has."""
        return block > 0 or stem != "blk.N.attn_norm"

    def named(self, source: str) -> str | None:
        """(ModernBertModel.filter_tensors)

        A pre-training's decoder goes too, at which llama.cpp's converter ends.
        """
        return None if source.startswith("decoder.") else super().named(source.removeprefix("model."))
