"""Granite: a Llama whose residual stream, attention and logits are scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import Config, number, rope_parameters, transformers_takes
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error


class Granite(Llama):
    NAME = "granite"
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon", "logit_scale")
    CLASSES: ClassVar[tuple[str, ...]] = ("GraniteForCausalLM",)
    MODEL_TYPE = "granite"
    DEFAULTS = {
        **Llama.DEFAULTS,
        "embedding_multiplier": 1.0,
        "attention_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "logits_scaling": 1.0,
    }
    REQUIRED: ClassVar[Mapping[str, str]] = {**Llama.REQUIRED, "logit_scale": "logits_scaling"}

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, GraniteConfig) Here `rope_scaling` must say `rope_type`, by that name."""
        return transformers_takes(_without_type(config))

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, GraniteConfig)"""
        config = _without_type(config)
        if config.get("num_key_value_heads") is None:
            config["num_key_value_heads"] = config["num_attention_heads"]
        return config

    @property
    def head_dim(self) -> int:
        return number(self.config, "hidden_size") // number(self.config, "num_attention_heads")

    def parameters(self, file_type: int) -> Values:
        """(GraniteModel.set_gguf_parameters) The size of a head is not written, and a multiplier of 0 counts as none."""
        out = Writer(self.NAME, self.config)
        for key, source in (
            ("attention.scale", "attention_multiplier"),
            ("embedding_scale", "embedding_multiplier"),
            ("residual_scale", "residual_multiplier"),
            ("logit_scale", "logits_scaling"),
        ):
            out.put(key, "f32", self.config.get(source) or None, source)
        lengths = (f"{self.NAME}.attention.key_length", f"{self.NAME}.attention.value_length")
        shared = super().parameters(file_type)
        return {key: value for key, value in shared.items() if key not in lengths} | out.values

    def constants(self) -> Mapping[str, bytes]:
        """None: the runtime's Granite has no factors for rotary frequencies, and the converter refuses to write some."""
        parameters = rope_parameters(self.config)
        rope = parameters.get("full_attention", parameters)
        if isinstance(rope, dict) and str(rope.get("rope_type", "")).lower() == "llama3":
            raise Error("llama3 rope scaling is not known for Granite", path="config.json")
        return {}


def _without_type(config: Config) -> dict[str, Any]:
    scaling = config.get("rope_scaling")
    if isinstance(scaling, dict):
        scaling = {key: value for key, value in scaling.items() if key != "type"}
    return {**config, "rope_scaling": scaling}
