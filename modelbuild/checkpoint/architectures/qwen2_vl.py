"""Qwen2-VL and Qwen2.5-VL, the text part: a Qwen2 whose rotations have sections for time, height and width."""

from __future__ import annotations

from typing import Any, ClassVar

from modelbuild.checkpoint.architectures._sections import check_sections, normal_rope, text_part
from modelbuild.checkpoint.architectures.qwen2 import Qwen2
from modelbuild.checkpoint.config import Config, with_key_heads
from modelbuild.checkpoint.hyperparameters import base_parameters
from modelbuild.checkpoint.metadata import Values


class Qwen2VL(Qwen2):
    """(llama.cpp conversion/qwenvl.py, Qwen2VLModel)"""

    NAME = "qwen2vl"
    ASKS = ("rope.dimension_sections",)
    CLASSES: ClassVar[tuple[str, ...]] = ("Qwen2VLForConditionalGeneration",)
    ALIASES: ClassVar[tuple[str, ...]] = ("Qwen2VLModel",)
    MODEL_TYPE = "qwen2_vl"
    DEFAULTS = {}
    TEXT = "qwen2_vl_text"

    @classmethod
    def takes(cls, config: Config) -> bool:
        return Qwen2VLText.takes(text_part(config))

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen2VLConfig) Older ones have the keys of the text model beside the others."""
        return {**config, "text_config": {**text_part(config), "model_type": cls.TEXT}}

    def parameters(self, file_type: int) -> Values:
        check_sections(self.config)
        return base_parameters(self.NAME, self.config, file_type)


class Qwen2VLText(Qwen2):
    CLASSES = ()
    MODEL_TYPE = "qwen2_vl_text"
    DEFAULTS = {
        "vocab_size": 152064,
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e6,
    }

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen2VLTextConfig)"""
        return normal_rope(with_key_heads(config))


class Qwen25VL(Qwen2VL):
    CLASSES = ("Qwen2_5_VLForConditionalGeneration",)
    ALIASES = ()
    MODEL_TYPE = "qwen2_5_vl"
    TEXT = "qwen2_5_vl_text"


class Qwen25VLText(Qwen2VLText):
    CLASSES = ()
    MODEL_TYPE = "qwen2_5_vl_text"
