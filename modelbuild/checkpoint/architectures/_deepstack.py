"""Qwen3-VL, the text part of both kinds: it takes in what several blocks of the tower have seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._sections import check_sections, text_part
from modelbuild.checkpoint.config import Config, block_count, transformers_takes
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json

DEEPSTACK = "deepstack_visual_indexes"


def seeing(config: Config, model_type: str) -> dict[str, Any]:
    """A configuration as transformers fills it in: Qwen3VLConfig, Qwen3VLMoeConfig."""
    vision = config.get("vision_config") or {}
    if not isinstance(vision, dict):
        raise Error(f"'vision_config' expects an object, got {in_json(vision)}", path="config.json")
    text = text_part(config) if isinstance(config.get("text_config"), dict) else {}
    return {
        **config,
        "vision_config": {DEEPSTACK: [8, 16, 24], **vision},
        "text_config": {**text, "model_type": model_type},
    }


def deepstack(name: str, config: Config) -> Values:
    """How many blocks of the tower are taken in (Qwen3VLTextModel.set_gguf_parameters)."""
    vision = config.get("vision_config", {})
    indexes = vision.get(DEEPSTACK, []) if isinstance(vision, Mapping) else None
    if not isinstance(indexes, list):
        raise Error(f"'{DEEPSTACK}' of 'vision_config' expects a list, got {in_json(indexes)}", path="config.json")
    if len(indexes) >= block_count(config):
        raise Error(
            f"'{DEEPSTACK}' expects fewer entries than the model has blocks, {block_count(config)}, got {len(indexes)}",
            path="config.json",
            hint="llama.cpp's runtime would crash: take it from the model's own config.json",
        )
    return {f"{name}.n_deepstack_layers": encode_value("u32", len(indexes))}


class Seeing(Architecture):
    """A mixin for the text part of both kinds, dense and with experts.

    TEXT_TYPE  the `model_type` of `text_config`
    """

    TEXT_TYPE: ClassVar[str]

    @classmethod
    def takes(cls, config: Config) -> bool:
        return transformers_takes(text_part(config))

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        return seeing(config, cls.TEXT_TYPE)

    def parameters(self, file_type: int) -> Values:
        check_sections(self.config)
        return super().parameters(file_type) | deepstack(self.NAME, self.config)
