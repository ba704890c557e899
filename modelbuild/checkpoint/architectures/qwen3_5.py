"""Qwen3.5, 3.6 and 3.8 without experts."""

from __future__ import annotations

from modelbuild.checkpoint.architectures._loads import FEED_FORWARD
from modelbuild.checkpoint.architectures._tiled_values import LOADED, TiledValues
from modelbuild.checkpoint.tensor_names import NAMES


class Qwen35(TiledValues):
    NAME = "qwen35"
    LOADS = LOADED + FEED_FORWARD
    MTP = True
    CLASSES = ("Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM")
    NAMES = {**TiledValues.NAMES, **{name: known for name, known in NAMES.items() if ".mlp." in name}}
