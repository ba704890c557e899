"""Mistral 3: Mistral Small, Ministral, Devstral, Magistral; a Llama whose attention may be scaled by the position."""

from __future__ import annotations

from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import Config, rope_parameters
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.words import in_json


class Mistral3(Llama):
    """(llama.cpp conversion/mistral3.py, Mistral3Model)"""

    NAME = "mistral3"
    CLASSES = ("Mistral3ForConditionalGeneration", "Ministral3ForCausalLM")
    MODEL_TYPE = "mistral3"
    DEFAULTS = {}

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Always: what counts is the part of the text model."""
        return True

    @classmethod
    def fill(cls, config: dict[str, object]) -> dict[str, object]:
        return config

    def parameters(self, file_type: int) -> Values:
        """(Ministral3Model.set_gguf_parameters)"""
        values = super().parameters(file_type)
        kind = self.config.get("model_type")
        if kind == "mistral4":
            raise Error("Mistral 4 is not supported yet", path="config.json", facts=[("model_type", "mistral4")])
        if kind != "ministral3":
            return values
        rope = rope_parameters(self.config)
        if rope.get("rope_type") != "yarn" or rope.get("factor") is None:
            got = in_json({key: rope.get(key) for key in ("rope_type", "factor")})
            raise Error(
                f"'rope_parameters' of a ministral3 expects the rope_type 'yarn' with a factor, got {got}",
                path="config.json",
            )
        out = Writer(self.NAME, self.config)
        for key, source in (
            ("rope.scaling.yarn_log_multiplier", "mscale_all_dim"),
            ("attention.temperature_scale", "llama_4_scaling_beta"),
        ):
            if rope.get(source) is None:
                raise Error(f"'rope_parameters' of a ministral3 lacks '{source}'", path="config.json")
            out.put(key, "f32", rope[source], source)
        return values | out.values
