"""Gemma 4: images of many sizes, whose patches are averaged in squares of three, and sound in the small models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.projectors import Made, Projector, _conformer, in_blocks
from modelbuild.checkpoint.projectors._section import Section, Writer
from modelbuild.checkpoint.tables import Line
from modelbuild.errors import Error
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression

_BLOCK = {
    "input_layernorm": "ln1",
    "post_attention_layernorm": "attn_post_norm",
    "pre_feedforward_layernorm": "ln2",
    "post_feedforward_layernorm": "ffn_post_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_out",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "layer_scalar": "out_scale",
}
_LIMIT = re.compile(r"(.*)\.(input|output)_(min|max)")
"""What goes into a matrix, and comes out of it, may have limits."""


class Gemma4(Projector):
    CLASSES = ("Gemma4ForConditionalGeneration",)
    VISION = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 16,
        "num_attention_heads": 12,
        "head_dim": 64,
        "patch_size": 16,
        "position_embedding_size": 10240,
    }
    TOWER = ("vision_tower.", "embed_vision.", "audio_tower.", "embed_audio.")
    NAMES = {
        **{f"vision_tower.encoder.layers.N.{stem}": f"v.blk.N.{name}" for stem, name in _BLOCK.items()},
        "vision_tower.patch_embedder.input_proj": "v.patch_embd",
        "vision_tower.patch_embedder.position_embedding_table": "v.position_embd",
        "embed_vision.embedding_projection": "mm.input_projection",
        **_conformer.NAMES,
    }
    LOADS = """
        v.patch_embd             patch patch 3 embd
        v.position_embd          embd positions 2
        mm.input_projection      embd text
        v.blk.N.ln1              embd
        v.blk.N.ln2              embd
        v.blk.N.attn_post_norm   embd
        v.blk.N.ffn_post_norm    embd
        v.blk.N.attn_q           embd values
        v.blk.N.attn_k           embd values
        v.blk.N.attn_v           embd values
        v.blk.N.attn_out         values embd
        v.blk.N.attn_q_norm      head
        v.blk.N.attn_k_norm      head
        v.blk.N.ffn_gate         embd ff
        v.blk.N.ffn_up           embd ff
        v.blk.N.ffn_down         ff embd
    """

    @cached_property
    def audio(self) -> Section | None:
        """The tower for sound; None where there is none."""
        return Section.of(self.config, "audio_config", _conformer.DEFAULTS) if self.config.get("audio_config") else None

    @classmethod
    def is_tower(cls, name: str) -> bool:
        return (cls.source(name) or "").startswith("vision_tower.")

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[Made]:
        for name, x in sources.items():
            if not x.shape:
                x = reshape(x, (1,))
            if _LIMIT.fullmatch(name) and x.dtype != "f32":
                # No limit is an infinity.
                x = dequantize(x)
            found = _conformer.of(name, x) if _is_sound(name) else self._of(name, x)
            yield Made(self.rename(found[0]), found[1], self.forced(name))

    def _of(self, name: str, x: Expression) -> tuple[str, Expression]:
        """A tensor for images as it is named by NAMES, and what is made of it (Gemma4VisionAudioModel.modify_tensors)."""
        name = name.replace(".linear.", ".")
        if name.endswith(("layer_scalar", "position_embedding_table")):
            return f"{name}.weight", x
        if name.endswith("patch_embedder.input_proj.weight"):
            patch = self.vision.count("patch_size")
            if len(x.shape) != 2 or x.shape[1] != 3 * patch * patch:
                raise Error(
                    f"tensor '{name}' expects {3 * patch * patch} columns, three colours of a patch, got {list(x.shape)}",
                    hint="config.json belongs to another checkpoint",
                )
            # Colours of a pixel -> pixels of a colour.
            pixels = transpose(reshape(x, (x.shape[0], patch * patch, 3)))
            return name, reshape(pixels, (x.shape[0], 3, patch, patch))
        return name, x

    def rename(self, source: str) -> str:
        if source in ("vision_tower.std_bias", "vision_tower.std_scale"):
            return source.replace("vision_tower.", "v.")
        limit = _LIMIT.fullmatch(source)
        if limit is None:
            return super().rename(source)
        return f"{super().rename(f'{limit[1]}.weight').removesuffix('.weight')}.{limit[2]}_{limit[3]}"

    def forced(self, source: str) -> str | None:
        if (_is_sound(source) and _conformer.is_f32(source)) or "position_embedding_table" in source:
            return "f32"
        return None

    def blocks_of(self, source: str) -> int:
        if not _is_sound(source):
            return self.blocks
        return self.audio.blocks("num_hidden_layers") if self.audio else 0

    def needs(self) -> Iterator[tuple[Line, str]]:
        yield from super().needs()
        if self.audio is not None:
            yield from in_blocks(_conformer.LOADS, self.audio.blocks("num_hidden_layers"))

    def parameters(self, out: Writer) -> None:
        super().parameters(out)
        if self.audio is not None:
            _conformer.parameters(out, self.audio, self.width)
        out.put("vision.projector_type", "str", "gemma4v")
        out.put("vision.attention.layer_norm_epsilon", "f32", self.vision.number("layer_norm_eps", 1e-6))
        if self.audio is not None:
            _conformer.named(out, self.audio)

    @cached_property
    def image_size(self) -> int:
        """(Gemma4VisionAudioModel) Nothing depends on it."""
        return 224

    @cached_property
    def heads(self) -> int:
        return self.vision.count("num_attention_heads")

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        head = self.vision.count("head_dim")
        return {
            **super().sizes,
            "positions": self.vision.count("position_embedding_size"),
            "head": head,
            "values": self.heads * head,
            **(_conformer.sizes(self.audio) if self.audio else {}),
        }


def _is_sound(name: str) -> bool:
    return name.startswith(("audio_tower.", "embed_audio."))
