"""StarCoder2: layer norms and biases throughout, and no gate."""

from __future__ import annotations

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers

_BIASED = ("output_norm", *(f"blk.N.{stem}" for stem in ("attn_norm", "ffn_norm", "attn_output", "ffn_up", "ffn_down")))


class StarCoder2(Architecture):
    """(llama.cpp conversion/starcoder.py, StarCoder2Model)"""

    NAME = "starcoder2"
    LOADS = f"""
        {EMBEDDING} {OUTPUT}
        output_norm.bias          embd
        blk.N.attn_norm           embd
        blk.N.attn_norm.bias      embd
        blk.N.qkv                 embd values values
        blk.N.attn_output         embd embd
        blk.N.attn_output.bias    embd
        blk.N.ffn_norm            embd
        blk.N.ffn_norm.bias       embd
        blk.N.ffn_up              embd ff
        blk.N.ffn_up.bias         ff
        blk.N.ffn_down            ff embd
        blk.N.ffn_down.bias       embd
    """
    ASKS = ("attention.layer_norm_epsilon",)
    CLASSES = ("Starcoder2ForCausalLM",)
    MODEL_TYPE = "starcoder2"
    DEFAULTS = {
        "vocab_size": 49152,
        "hidden_size": 3072,
        "intermediate_size": 12288,
        "num_hidden_layers": 30,
        "num_attention_heads": 24,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "norm_epsilon": 1e-5,
        "rope_theta": 10000.0,
    }
    NAMES = {name: known for name, known in NAMES.items() if ".mlp." not in name} | {
        "layers.N.mlp.c_fc": "blk.N.ffn_up",
        "layers.N.mlp.c_proj": "blk.N.ffn_down",
    }
    SHAPES = """
        output_norm.bias          embd
        blk.N.attn_norm.bias      embd
        blk.N.ffn_norm.bias       embd
        blk.N.ffn_up              embd ff
    """
    NEEDED = tuple(f"{stem}.bias" for stem in _BIASED)
    BIASES = r"output_norm|blk\.N\.(attn_(q|k|v|qkv|norm|output)|ffn_(norm|up|down))"
    FREE_HEADS = False
    REQUIRED = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_epsilon": "norm_epsilon",
    }

    @property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))
