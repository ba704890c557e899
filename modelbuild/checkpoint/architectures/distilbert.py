"""DistilBERT: a BERT of half as many blocks, without kinds of segments."""

from __future__ import annotations

from modelbuild.checkpoint.architectures._bert import EMBEDDINGS, HEADS
from modelbuild.checkpoint.architectures.bert import Bert
from modelbuild.checkpoint.metadata import Values
from modelbuild.tensors.formats.gguf import encode_value


class DistilBert(Bert):
    CLASSES = ("DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification")
    MODEL_TYPE = "distilbert"
    DEFAULTS = {
        "vocab_size": 30522,
        "dim": 768,
        "hidden_dim": 3072,
        "n_layers": 6,
        "n_heads": 12,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    MAPPED = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}
    NAMES = {
        **EMBEDDINGS,
        "transformer.layer.N.attention.q_lin": "blk.N.attn_q",
        "transformer.layer.N.attention.k_lin": "blk.N.attn_k",
        "transformer.layer.N.attention.v_lin": "blk.N.attn_v",
        "transformer.layer.N.attention.out_lin": "blk.N.attn_output",
        "transformer.layer.N.sa_layer_norm": "blk.N.attn_output_norm",
        "transformer.layer.N.ffn.lin1": "blk.N.ffn_up",
        "transformer.layer.N.ffn.lin2": "blk.N.ffn_down",
        "transformer.layer.N.output_layer_norm": "blk.N.layer_output_norm",
        **HEADS,
        "pre_classifier": "cls",
    }

    def parameters(self, file_type: int) -> Values:
        """(DistilBertModel.set_gguf_parameters) No configuration tells the norms' epsilon."""
        key = f"{self.NAME}.attention.layer_norm_epsilon"
        return {key: encode_value("f32", 1e-12)} | super().parameters(file_type)

    def named(self, source: str) -> str | None:
        """(DistilBertModel.filter_tensors)"""
        name = source.removeprefix("distilbert.")
        return None if name.startswith("vocab_") else super().named(name)
