"""Qwen3-VL with experts, the text part: transformers 4 stacks experts the other way round than Qwen3's, transformers 5 does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.checkpoint.architectures._deepstack import Seeing
from modelbuild.checkpoint.architectures.qwen3_moe import Qwen3Moe
from modelbuild.checkpoint.config import number
from modelbuild.errors import Error
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression

_STACKED = (".mlp.experts.gate_up_proj", ".mlp.experts.down_proj")


class Qwen3VLMoe(Seeing, Qwen3Moe):
    """(llama.cpp conversion/qwen3vl.py, Qwen3VLMoeTextModel)"""

    NAME = "qwen3vlmoe"
    ASKS = (*Qwen3Moe.ASKS, "rope.dimension_sections")
    CLASSES = ("Qwen3VLMoeForConditionalGeneration",)
    MODEL_TYPE = "qwen3_vl_moe"
    TEXT_TYPE = "qwen3_vl_moe_text"
    DEFAULTS = {}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(Qwen3VLMoeTextModel.modify_tensors)

        Raises Error for stacked experts that do not have three dimensions.
        """
        stacked = {source: x for source, x in sources.items() if source.removesuffix(".weight").endswith(_STACKED)}
        for source, x in stacked.items():
            if len(x.shape) != 3:
                raise Error(f"tensor '{source}' expects three dimensions, the experts first, got {list(x.shape)}")
        if self._as_computed(stacked):
            return super().tensors(sources)
        return super().tensors({**sources, **{source: transpose(x) for source, x in stacked.items()}})

    def _as_computed(self, stacked: Mapping[str, Expression]) -> bool:
        """Whether stacked experts are [experts, out, in], as transformers 5 writes them, and not [experts, in, out].

        The width of the model stands on one side of each. One of the two kinds always tells: its other side is not as large.
        """
        width = number(self.config, "hidden_size")
        for source, x in stacked.items():
            _, rows, columns = x.shape
            if (rows == width) != (columns == width):
                return ("down_proj" in source) == (rows == width)
        return False


class Qwen3VLMoeText(Qwen3Moe):
    CLASSES = ()
    MODEL_TYPE = Qwen3VLMoe.TEXT_TYPE
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5e6,
        "moe_intermediate_size": 1408,
        "num_experts_per_tok": 4,
        "num_experts": 60,
    }

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen3VLMoeTextConfig)"""
        heads = number(config, "num_attention_heads")
        if config["num_key_value_heads"] is None:
            config["num_key_value_heads"] = heads
        config["head_dim"] = config.get("head_dim") or number(config, "hidden_size") // heads
        return config
