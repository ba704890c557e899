"""DeepSeek V2, V2.5 and V2-Lite: attention over compressed keys and values, experts behind the first block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import _mla
from modelbuild.checkpoint.architectures._mla import Mla
from modelbuild.checkpoint.config import Config, block_count
from modelbuild.checkpoint.file_model import LITE, LITE_BY_TOKENS
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.checkpoint.tokenizers.fast import FILE
from modelbuild.errors import Error
from modelbuild.words import in_json

_BLOCK = re.compile(r"model\.layers\.([0-9]{1,9})\.")


class DeepseekV2(Mla):
    """(llama.cpp conversion/deepseek.py, DeepseekV2Model)"""

    NAME = "deepseek2"
    LOADS = _mla.LOADS
    CLASSES: ClassVar[tuple[str, ...]] = ("DeepseekV2ForCausalLM",)
    MODEL_TYPE = "deepseek_v2"
    DEFAULTS: ClassVar[Config] = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "first_k_dense_replace": 0,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "n_group": None,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "routed_scaling_factor": 1.0,
        "topk_group": None,
        "v_head_dim": 128,
        "num_experts_per_tok": None,
        "norm_topk_prob": False,
        "moe_intermediate_size": 1407,
    }

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, DeepseekV2Config)"""
        config["head_dim"] = config["qk_rope_head_dim"]
        return config

    @cached_property
    def tokenizer(self) -> Values:
        """(DeepseekV2Model.set_vocab) Raises Error for Kimi's, which is code of the checkpoint."""
        checkpoint = self.checkpoint
        if checkpoint.json(FILE) is None and checkpoint.tokenizer_config.get("tokenizer_class") == "TikTokenTokenizer":
            raise Error(
                "the tokenizer is code that comes with the checkpoint (TikTokenTokenizer), which is not run here",
                path="tokenizer_config.json",
                hint="add a tokenizer.json with the same vocabulary; or let your own llama.cpp run the code: "
                'convert = "llama.cpp", and llama_cpp, python and trust = true in [tools]',
            )
        return tokenizers.byte_pairs(checkpoint, tokenizers.vocabulary_size(self.config))

    def named(self, source: str) -> str | None:
        """Without the blocks behind the model's own, which predict further tokens and which the runtime knows only of GLM."""
        name = super().named(source)
        block = _BLOCK.match(name or "")
        return None if block and int(block[1]) >= block_count(self.config) else name

    def parameters(self, file_type: int) -> Values:
        check_rank(self)
        return super().parameters(file_type)

    def doubts(self) -> Iterator[Error]:
        yield from super().doubts()
        groups = self.config.get("n_group")
        if self.config.get("topk_method") == "group_limited_greedy" and isinstance(groups, int) and groups > 1:
            yield Error(
                "llama.cpp's runtime chooses groups of experts by the two best of each, as DeepSeek V3 does, and this model by the best: "
                "some answers will be others",
                path="config.json",
                facts=[("topk_method", "group_limited_greedy"), ("n_group", str(groups))],
            )


def check_rank(architecture: Mla) -> None:
    """Raise Error where the runtime, which goes by the number of blocks, would take the queries for what they are not."""
    config, blocks, rank = architecture.config, block_count(architecture.config), architecture.rank
    is_lite = blocks in LITE or (blocks, config.get("vocab_size")) == LITE_BY_TOKENS
    if is_lite is (rank is not None):
        raise Error(
            f"llama.cpp's runtime loads a model of {architecture.NAME} with {blocks} blocks only "
            f"{'without' if is_lite else 'with'} a 'q_lora_rank', got {in_json(rank)}",
            path="config.json",
            facts=[("without", f"models of {LITE[0]} or {LITE[1]} blocks, as DeepSeek V2-Lite")],
        )
