"""Gemma 4 without towers: patches of images and frames of sound go into the text model by one matrix each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.projectors import Made, Projector
from modelbuild.checkpoint.projectors._section import Section, Writer
from modelbuild.errors import Error
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression


class Gemma4Unified(Projector):
    CLASSES = ("Gemma4UnifiedForConditionalGeneration",)
    VISION = {"patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": 3840, "mm_posemb_size": 1120}
    TOWER = ("vision_embedder.", "embed_vision.", "embed_audio.")
    NAMES = {
        "vision_embedder.patch_dense": "v.patch_embd",
        "vision_embedder.pos_embedding": "v.position_embd",
        "vision_embedder.patch_ln1": "v.patch_norm.1",
        "vision_embedder.patch_ln2": "v.patch_norm.2",
        "vision_embedder.pos_norm": "v.patch_norm.3",
        "embed_vision.embedding_projection": "mm.input_projection",
        "embed_audio.embedding_projection": "mm.a.input_projection",
    }
    LOADS = """
        v.patch_embd            pixels embd
        v.patch_embd.bias       embd
        v.position_embd         embd positions 2
        v.patch_norm.1          pixels
        v.patch_norm.1.bias     pixels
        v.patch_norm.2          embd
        v.patch_norm.2.bias     embd
        v.patch_norm.3          embd
        v.patch_norm.3.bias     embd
        mm.input_projection     embd text
        mm.a.input_projection   frame text
    """

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[Made]:
        """(Gemma4UnifiedVisionAudioModel.modify_tensors)"""
        for name, x in sources.items():
            stem, _, suffix = name.rpartition(".")
            if suffix == "pos_embedding":
                yield Made(self.rename(f"{name}.weight"), self._by_axis(name, x))
            elif name == "vision_embedder.patch_dense.weight" or stem == "vision_embedder.patch_ln1":
                yield Made(self.rename(name), self._by_colour(name, x))
            else:
                yield Made(self.rename(name), x)

    def _by_colour(self, name: str, x: Expression) -> Expression:
        """Colours of a pixel -> pixels of a colour, in the last axis."""
        if not x.shape or x.shape[-1] != self.sizes["pixels"]:
            raise Error(
                f"tensor '{name}' expects {self.sizes['pixels']} columns, three colours of a patch, got {list(x.shape)}",
                hint="config.json belongs to another checkpoint",
            )
        before = x.shape[:-1]
        return reshape(transpose(reshape(x, (*before, self.sizes["pixels"] // 3, 3))), x.shape)

    @staticmethod
    def _by_axis(name: str, x: Expression) -> Expression:
        """[positions, 2, embd] -> [2, positions, embd]."""
        if len(x.shape) != 3 or x.shape[1] != 2:
            raise Error(
                f"tensor '{name}' expects positions along two axes, got {list(x.shape)}",
                hint="config.json belongs to another checkpoint",
            )
        positions, _, embd = x.shape
        return stack([reshape(slice_(x, 1, axis, axis + 1), (positions, embd)) for axis in (0, 1)])

    @cached_property
    def audio(self) -> Section:
        return Section.of(self.config, "audio_config", {"audio_embed_dim": 640})

    def parameters(self, out: Writer) -> None:
        super().parameters(out)
        out.put("has_audio_encoder", "bool", True)
        out.put("audio.projection_dim", "u32", self.width)
        out.put("audio.embedding_length", "u32", self.sizes["frame"])
        for key in ("feed_forward_length", "block_count", "attention.head_count"):
            out.put(f"audio.{key}", "u32", 0)
        out.put("vision.projector_type", "str", "gemma4uv")
        out.put("vision.attention.layer_norm_epsilon", "f32", self.vision.number("layer_norm_eps", 1e-6))
        out.put("audio.projector_type", "str", "gemma4ua")
        bins = self.audio.count("input_feat_size") if "input_feat_size" in self.audio.values else 128
        out.put("audio.num_mel_bins", "u32", bins)
        out.put("audio.attention.layer_norm_epsilon", "f32", self.audio.number("layer_norm_eps", 1e-6))

    @cached_property
    def image_size(self) -> int:
        """(Gemma4VisionAudioModel) Nothing depends on it."""
        return 224

    @cached_property
    def blocks(self) -> int:
        return 0

    @cached_property
    def heads(self) -> int:
        return 0

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        vision = self.vision
        if "model_patch_size" in vision.values:
            side = vision.count("model_patch_size")
        else:
            side = vision.count("patch_size") * vision.count("pooling_kernel_size")
        return {
            "embd": vision.count("mm_embed_dim"),
            "ff": 0,
            "pixels": 3 * side**2,
            "positions": vision.count("mm_posemb_size"),
            "frame": self.audio.count("audio_embed_dim"),
            "text": self.width,
        }
