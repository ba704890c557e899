"""Qwen3-VL, the text part: a Qwen3 with sections in its rotations."""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.architectures._deepstack import Seeing
from modelbuild.checkpoint.architectures._sections import text_part
from modelbuild.checkpoint.architectures.qwen3 import Qwen3
from modelbuild.checkpoint.config import Config, transformers_takes, with_key_heads


class Qwen3VL(Seeing, Qwen3):
    """(llama.cpp conversion/qwen3vl.py, Qwen3VLTextModel)"""

    NAME = "qwen3vl"
    ASKS = (*Qwen3.ASKS, "rope.dimension_sections")
    CLASSES = ("Qwen3VLForConditionalGeneration",)
    MODEL_TYPE = "qwen3_vl"
    TEXT_TYPE = "qwen3_vl_text"
    DEFAULTS = {}

    @property
    def is_tied(self) -> bool:
        """What the part of the text model says counts, false where it says nothing."""
        return bool(text_part(self.config).get("tie_word_embeddings"))


class Qwen3VLText(Qwen3):
    CLASSES = ()
    MODEL_TYPE = Qwen3VL.TEXT_TYPE
    DEFAULTS = {**Qwen3.DEFAULTS, "max_position_embeddings": 128000, "rope_theta": 5e6}

    @classmethod
    def takes(cls, config: Config) -> bool:
        return transformers_takes(config)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen3VLTextConfig)"""
        return with_key_heads(config)
