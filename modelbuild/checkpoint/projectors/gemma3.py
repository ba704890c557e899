"""Gemma 3: SigLIP, whose patches are averaged down to 256 for an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.projectors import Made, Projector, _siglip
from modelbuild.checkpoint.projectors._section import Writer
from modelbuild.errors import Error
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json


class Gemma3(Projector):
    CLASSES = ("Gemma3ForConditionalGeneration",)
    MODEL_TYPE = "gemma3"
    VISION = _siglip.DEFAULTS
    TEXT = {"hidden_size": 2304}
    TOWER = ("multi_modal_projector.", "vision_tower.")
    NAMES = {
        **_siglip.names("vision_tower.vision_model."),
        "multi_modal_projector.mm_input_projection": "mm.input_projection",
        "multi_modal_projector.mm_soft_emb_norm": "mm.soft_emb_norm",
    }
    LOADS = f"""
        {_siglip.LOADS}
        mm.input_projection  text embd
        mm.soft_emb_norm     embd
    """

    @classmethod
    def source(cls, name: str) -> str | None:
        """(Gemma3VisionModel.filter_tensors) transformers 5 leaves out `vision_model`."""
        found = super().source(name)
        if found is None or ".head." in found:
            return None
        inner = found.removeprefix("vision_tower.").removeprefix("vision_model.")
        named = found if inner == found else f"vision_tower.vision_model.{inner}"
        return named.replace("_weight", ".weight")

    def forced(self, source: str) -> str | None:
        if "input_projection" in source:
            return "f16"
        return "f32" if ".embeddings." in source else None

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[Made]:
        for made in super().tensors(sources):
            yield made._replace(expression=add_one(made.expression)) if made.name == "mm.soft_emb_norm.weight" else made

    def parameters(self, out: Writer) -> None:
        super().parameters(out)
        out.put("projector_type", "str", "gemma3")
        out.put("vision.attention.layer_norm_epsilon", "f32", self.vision.number("layer_norm_eps", 1e-6))
        out.put("use_gelu", "bool", True)
        if self._factor > 0 and self._factor != 4:
            out.put("vision.projector.scale_factor", "u32", self._factor)

    @cached_property
    def _factor(self) -> int:
        """How many patches are averaged in each direction. The runtime takes 4 where the file does not say so."""
        length = self.images.get("image_seq_length", 256)
        if type(length) is not int or not 0 < length < 1 << 20:
            path = "preprocessor_config.json"
            raise Error(f"'image_seq_length' expects a whole number of at least 1, got {in_json(length)}", path=path)
        return self.image_size // self.vision.count("patch_size") // int(length**0.5)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        sizes = super().sizes
        return {**sizes, "positions": (self.image_size // sizes["patch"]) ** 2}
