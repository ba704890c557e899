"""Text models of those that see, whose rotations have sections for time, height and width (M-RoPE)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.checkpoint.config import Config, rope_parameters
from modelbuild.errors import Error
from modelbuild.words import in_json


def text_part(config: Config) -> Mapping[str, Any]:
    """The configuration of the text model: its own part, or all where there is none."""
    part = config.get("text_config")
    if not isinstance(part, dict | None):
        raise Error(f"'text_config' expects an object, got {in_json(part)}", path="config.json")
    return config if part is None else part


def normal_rope(config: dict[str, Any]) -> dict[str, Any]:
    """The sections are not a kind of scaling, though older configurations call them one (transformers, Qwen2VLTextConfig)."""
    scaling = config.get("rope_scaling")
    if isinstance(scaling, dict) and scaling.get("type") == "mrope":
        config["rope_scaling"] = {**scaling, "type": "default"}
    return config


def check_sections(config: Config) -> None:
    """Raise Error where the sections, which the runtime asks for, are not there."""
    found = rope_parameters(config).get("mrope_section")
    if not isinstance(found, list) or not 0 < len(found) <= 4 or not all(type(each) is int for each in found):
        raise Error(
            f"'mrope_section' of the rotary embedding expects up to four numbers, got {in_json(found)}",
            path="config.json",
        )
