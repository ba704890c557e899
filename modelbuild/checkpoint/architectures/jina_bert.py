"""Jina's second embeddings: a BERT with gates, whose attention gets weaker with the distance instead of positions."""

from __future__ import annotations

from functools import cached_property

from modelbuild.checkpoint.architectures._bert import EMBEDDINGS, LAYERS, NORMED, Encoder
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.checkpoint.tokenizers.wordpiece import word_pieces
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json


class JinaBert2(Encoder):
    NAME = "jina-bert-v2"
    LOADS = f"""
        {NORMED}
        token_types               embd types
        blk.N.attn_q_norm?        embd
        blk.N.attn_q_norm.bias?   embd
        blk.N.attn_k_norm?        keys
        blk.N.attn_k_norm.bias?   keys
        blk.N.attn_output.bias    embd
        blk.N.attn_norm_2?        embd
        blk.N.attn_norm_2.bias?   embd
        blk.N.ffn_gate?           embd ff
        blk.N.ffn_up              embd up
        blk.N.ffn_up.bias?        up
        blk.N.ffn_down            ff embd
        blk.N.ffn_down.bias       embd
    """
    CLASSES = ("JinaBertModel", "JinaBertForMaskedLM")
    NAMES = {
        **{name: known for name, known in EMBEDDINGS.items() if known != "position_embd"},
        **{name: known for name, known in LAYERS.items() if not name.endswith("r.N.output.LayerNorm")},
        "encoder.layer.N.attention.self.layer_norm_q": "blk.N.attn_q_norm",
        "encoder.layer.N.attention.self.layer_norm_k": "blk.N.attn_k_norm",
        "encoder.layer.N.layer_norm_1": "blk.N.attn_norm_2",
        "encoder.layer.N.mlp.gated_layers": "blk.N.ffn_up",
        "encoder.layer.N.mlp.gated_layers_v": "blk.N.ffn_up",
        "encoder.layer.N.mlp.up_gated_layer": "blk.N.ffn_up",
        "encoder.layer.N.mlp.gated_layers_w": "blk.N.ffn_gate",
        "encoder.layer.N.mlp.wo": "blk.N.ffn_down",
        "encoder.layer.N.mlp.down_layer": "blk.N.ffn_down",
        "encoder.layer.N.mlp.layernorm": "blk.N.layer_output_norm",
        "encoder.layer.N.layer_norm_2": "blk.N.layer_output_norm",
        "encoder.layer.N.output.LayerNorm": "blk.N.layer_output_norm",
    }
    OPTIONAL = r"blk\.N\.(attn_q_norm|attn_k_norm|attn_norm_2|ffn_gate)"
    NEEDED = ("token_embd_norm.bias", "blk.N.attn_output.bias", "blk.N.ffn_down.bias")

    @cached_property
    def tokenizer(self) -> Values:
        """(JinaBertV2Model.set_vocab)"""
        size = tokenizers.vocabulary_size(self.config)
        name = self.checkpoint.tokenizer_config.get("tokenizer_class")
        if name == "BertTokenizer":
            return word_pieces(self.checkpoint, size, self.token_types)
        if name != "RobertaTokenizer":
            raise Error(
                f"'tokenizer_class' expects BertTokenizer or RobertaTokenizer, got {in_json(name)}",
                path="tokenizer_config.json",
                hint="llama.cpp's converter knows no other tokenizers of this class of models",
            )
        splitter = (self.checkpoint.json("tokenizer.json") or {}).get("pre_tokenizer")
        white = isinstance(splitter, dict) and splitter.get("type") == "Whitespace"
        read = tokenizers.words if white else tokenizers.byte_pairs
        return read(self.checkpoint, size) | {"tokenizer.ggml.token_type_count": encode_value("u32", 2)}
