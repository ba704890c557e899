"""Models of two kinds of blocks, as LFM2 made them: most mix a few neighbouring tokens by a short convolution, some have attention.

Source: llama.cpp conversion/lfm2.py (LFM2Model), src/models/lfm2.cpp
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import OUTPUT
from modelbuild.checkpoint.config import block_count, number
from modelbuild.checkpoint.hyperparameters import base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

LOADED = f"""
    token_embd                        embd vocab
    token_embd_norm                   embd
    {OUTPUT}
    blk.N.attn_norm                   embd
    blk.N.ffn_norm                    embd
    attention blk.N.qkv               embd keys values
    attention blk.N.attn_output       embd embd
    attention blk.N.attn_q_norm       head
    attention blk.N.attn_k_norm       head
    recurrent blk.N.shortconv.conv        conv embd
    recurrent blk.N.shortconv.in_proj     embd 3*embd
    recurrent blk.N.shortconv.out_proj    embd embd
"""
"""Lines of LOADS (src/models/lfm2.cpp)."""

_MIXING = ("attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm")


class ShortConvolution(Architecture):
    """A mixin: what models with short convolutions have in common."""

    NAMES: ClassVar[Mapping[str, str]] = {
        "embed_tokens": "token_embd",
        "embedding_norm": "token_embd_norm",
        "lm_head": "output",
        "layers.N.operator_norm": "blk.N.attn_norm",
        "layers.N.ffn_norm": "blk.N.ffn_norm",
        "layers.N.self_attn.q_proj": "blk.N.attn_q",
        "layers.N.self_attn.k_proj": "blk.N.attn_k",
        "layers.N.self_attn.v_proj": "blk.N.attn_v",
        "layers.N.self_attn.out_proj": "blk.N.attn_output",
        "layers.N.self_attn.q_layernorm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_layernorm": "blk.N.attn_k_norm",
        "layers.N.conv.conv": "blk.N.shortconv.conv",
        "layers.N.conv.in_proj": "blk.N.shortconv.in_proj",
        "layers.N.conv.out_proj": "blk.N.shortconv.out_proj",
        "layers.N.feed_forward.w1": "blk.N.ffn_gate",
        "layers.N.feed_forward.w2": "blk.N.ffn_down",
        "layers.N.feed_forward.w3": "blk.N.ffn_up",
    }
    SHAPES = """
        token_embd_norm               embd
        blk.N.shortconv.conv          conv embd
        blk.N.shortconv.in_proj       embd 3*embd
        blk.N.shortconv.out_proj      embd embd
    """
    BIASES = r"blk\.N\.attn_(q|k|v|qkv)"
    FREE_HEADS = False
    REQUIRED = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_rms_epsilon": "norm_eps",
    }
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon", "shortconv.l_cache")

    @property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def attends(self, kind: object) -> bool:
        """Whether a block of a kind, of `layer_types`, has attention."""
        return kind != "conv"

    def kinds(self) -> list[bool]:
        """Whether each block has attention."""
        types, count = self.config.get("layer_types"), block_count(self.config)
        if not isinstance(types, list) or len(types) != count:
            got = f"a list of {len(types)}" if isinstance(types, list) else in_json(types)
            raise Error(
                f"'layer_types' expects a list with one text for each of {count} blocks, got {got}", path="config.json"
            )
        return [self.attends(kind) for kind in types]

    def has(self, stem: str, block: int) -> bool:
        name = stem.removeprefix("blk.N.")
        if name.startswith("shortconv."):
            return not self.kinds()[block]
        return name not in _MIXING or self.kinds()[block]

    def parameters(self, file_type: int) -> Values:
        """Heads of keys for each block, none where there is no attention (LFM2Model.set_gguf_parameters)."""
        values = base_parameters(self.NAME, self.config, file_type)
        heads = number(self.config, "num_key_value_heads")
        shared = [heads if attends else 0 for attends in self.kinds()]
        return values | {f"{self.NAME}.attention.head_count_kv": encode_value("[i32]", shared)}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """The runtime's convolution wants a matrix (LFM2Model.modify_tensors)."""
        for source, x in sources.items():
            if "conv.conv" in source and source.endswith(".weight"):
                if len(x.shape) != 3 or x.shape[1] != 1:
                    raise Error(f"tensor '{source}' expects [rows, 1, columns], got {list(x.shape)}")
                x = reshape(x, (x.shape[0], x.shape[2]))
            yield self.rename(source), x
