"""GLM-5: DeepSeek's compressed keys and values, and an indexer in some blocks that chooses which of them are attended to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from modelbuild.checkpoint.architectures import _mla, _numbered_mtp
from modelbuild.checkpoint.architectures._mla import Mla
from modelbuild.checkpoint.architectures._numbered_mtp import NumberedMtp
from modelbuild.checkpoint.architectures.glm4_moe import TOKENS
from modelbuild.checkpoint.config import block_count, number, rope_parameters
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json

FULL, SHARED = "full", "shared"
"""Blocks with an indexer, and those that take over what the last one chose (`indexer_types`)."""

_ALL_FULL_BELOW = 1048576
"""Tokens of context from which on the runtime takes a model that does not say it for GLM-5.2 (src/models/glm-dsa.cpp)."""


class GlmMoeDsa(NumberedMtp, Mla):
    """(llama.cpp conversion/glm.py, GlmMoeDsaModel) transformers 4.57 does not know it: config.json counts as it stands."""

    NAME = "glm-dsa"
    LOADS = f"""
        {_mla.LOADS}
        blk.N.indexer.k_norm?         index
        blk.N.indexer.k_norm.bias?    index
        blk.N.indexer.proj?           embd indexers
        blk.N.indexer.attn_k?         embd index
        blk.N.indexer.attn_q_b?       q_lora indices
    """
    MTP = True
    CLASSES = ("GlmMoeDsaForCausalLM",)
    NAMES = {
        **Mla.NAMES,
        **_numbered_mtp.NAMES,
        "layers.N.self_attn.indexer.wq_b": "blk.N.indexer.attn_q_b",
        "layers.N.self_attn.indexer.wk": "blk.N.indexer.attn_k",
        "layers.N.self_attn.indexer.k_norm": "blk.N.indexer.k_norm",
        "layers.N.self_attn.indexer.weights_proj": "blk.N.indexer.proj",
    }
    SHAPES = f"""
        {Mla.SHAPES}
        blk.N.indexer.k_norm      index
        blk.N.indexer.proj        embd indexers
        blk.N.indexer.attn_k      embd index
        blk.N.indexer.attn_q_b    q_lora indices
    """
    BIASES = rf"{Mla.BIASES}|blk\.N\.indexer\.k_norm"
    OPTIONAL = rf"{Mla.OPTIONAL}|{_numbered_mtp.OPTIONAL}"
    NEEDED = ("blk.N.indexer.k_norm.bias",)
    REQUIRED = {**Mla.REQUIRED, "attention.q_lora_rank": "q_lora_rank"}
    ASKS = (
        *Mla.ASKS, "attention.indexer.head_count", "attention.indexer.key_length", "attention.indexer.top_k",
        "attention.key_length_mla", "attention.value_length_mla",
    )  # fmt: skip

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config), TOKENS)

    def parameters(self, file_type: int) -> Values:
        """(GlmMoeDsaModel.set_gguf_parameters)"""
        config, part = self.config, rope_parameters(self.config).get("partial_rotary_factor", 1.0)
        if part != 1:
            raise Error(
                f"'partial_rotary_factor' expects 1, since 'qk_rope_head_dim' says what rotates, got {in_json(part)}",
                path="config.json",
            )
        out = Writer(self.NAME, config)
        for key, source in (
            ("head_count", "index_n_heads"),
            ("key_length", "index_head_dim"),
            ("top_k", "index_topk"),
        ):
            out.put(f"attention.indexer.{key}", "u32", number(config, source), source)
        if (kinds := self.kinds) is not None:
            out.values[f"{self.NAME}.attention.indexer.types"] = encode_value("[bool]", kinds)
        return self.with_further(super().parameters(file_type)) | out.values

    @property
    def kinds(self) -> list[bool] | None:
        """Which of the model's own blocks have an indexer; None where config.json does not list it."""
        types: Any = self.config.get("indexer_types")
        if types is None:
            return None
        count = block_count(self.config)
        if not isinstance(types, list) or len(types) != count or not all(kind in (FULL, SHARED) for kind in types):
            raise Error(
                f"'indexer_types' expects {count} kinds, one for each block, '{FULL}' or '{SHARED}', got {in_json(types)}",
                path="config.json",
            )
        return [kind == FULL for kind in types]

    def has(self, stem: str, block: int) -> bool:
        if ".indexer." in stem:
            return block < block_count(self.config) and self._indexes(block)
        return super().has(stem, block)

    def _indexes(self, block: int) -> bool:
        if (kinds := self.kinds) is not None:
            return kinds[block]
        return number(self.config, "max_position_embeddings") < _ALL_FULL_BELOW or block < 2 or block % 4 == 2

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        heads, head = number(self.config, "index_n_heads"), number(self.config, "index_head_dim")
        return {
            **super().sizes(block),
            "indexers": (heads, "index_n_heads"),
            "index": (head, "index_head_dim"),
            "indices": (heads * head, "index_n_heads * index_head_dim"),
        }
