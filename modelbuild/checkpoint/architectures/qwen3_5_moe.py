"""Qwen3.5 and 3.6 with experts, one of which all tokens share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelbuild.checkpoint.architectures._experts import gated
from modelbuild.checkpoint.architectures._gated_delta import EXPERT_NAMES, EXPERTS
from modelbuild.checkpoint.architectures._tiled_values import LOADED, TiledValues
from modelbuild.tensors.recipe import Expression


class Qwen35Moe(TiledValues):
    NAME = "qwen35moe"
    LOADS = LOADED + EXPERTS
    MTP = True
    CLASSES = ("Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM")
    NAMES = {**TiledValues.NAMES, **EXPERT_NAMES}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        return super().tensors(dict(gated(sources, self.config)))
