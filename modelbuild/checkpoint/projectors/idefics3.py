"""Idefics3 and SmolVLM: SigLIP, whose patches are put together in squares (pixel shuffle)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from modelbuild.checkpoint.projectors import Projector, _siglip
from modelbuild.checkpoint.projectors._section import LIMIT, Writer
from modelbuild.errors import Error
from modelbuild.words import in_json


class Idefics3(Projector):
    CLASSES = ("Idefics3ForConditionalGeneration",)
    MODEL_TYPE = "idefics3"
    VISION = {
        "hidden_size": 1152,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 32,
        "layer_norm_eps": 1e-6,
    }
    TEXT = {"hidden_size": 4096}
    TOWER = ("vision_model.", "connector.")
    NAMES = {
        **_siglip.names("vision_model."),
        "connector.modality_projection.proj": "mm.model.fc",
    }
    LOADS = f"""
        {_siglip.LOADS}
        mm.model.fc  shuffled text
    """

    def forced(self, source: str) -> str | None:
        return "f32" if ".embeddings." in source else None

    def parameters(self, out: Writer) -> None:
        super().parameters(out)
        out.put("projector_type", "str", "idefics3")
        out.put("vision.attention.layer_norm_epsilon", "f32", self.vision.number("layer_norm_eps", 1e-5))
        out.put("vision.projector.scale_factor", "u32", self._factor)
        out.put("use_gelu", "bool", True)
        out.put("vision.preproc_image_size", "u32", self._longest)

    @cached_property
    def _factor(self) -> int:
        return self.top.count("scale_factor") if "scale_factor" in self.config else 2

    @cached_property
    def _longest(self) -> int:
        """The longest side that an image is scaled to before it is cut into pieces."""
        size = self.images.get("size", {})
        found = size.get("longest_edge", self.image_size) if isinstance(size, dict) else size
        if type(found) is not int or not 0 < found < LIMIT:
            what = f"'size.longest_edge' expects a whole number of at least 1, got {in_json(found)}"
            raise Error(what, path="preprocessor_config.json")
        return found

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        sizes = super().sizes
        positions = (self.image_size // sizes["patch"]) ** 2
        return {**sizes, "positions": positions, "shuffled": sizes["embd"] * self._factor**2}


class SmolVLM(Idefics3):
    CLASSES = ("SmolVLMForConditionalGeneration",)
    MODEL_TYPE = "smolvlm"
