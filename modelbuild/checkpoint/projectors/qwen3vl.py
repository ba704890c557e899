"""Qwen3-VL, and the dense and expert models of Qwen3.5: learned positions, and tokens from several depths (deepstack) in the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.projectors import Made, _visual
from modelbuild.checkpoint.projectors._loads import FEED_FORWARD
from modelbuild.checkpoint.projectors._section import Writer
from modelbuild.checkpoint.projectors._visual import Visual
from modelbuild.checkpoint.tables import Line, lines
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression


class Qwen3VL(Visual):
    CLASSES: ClassVar[tuple[str, ...]] = ("Qwen3VLForConditionalGeneration",)
    MODEL_TYPE = "qwen3_vl"
    VISION = {
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "patch_size": 16,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24],
    }
    TEXT = {"hidden_size": 4096, "rms_norm_eps": 1e-6}
    NAMES = {
        **_visual.NAMES,
        "visual.pos_embed": "v.position_embd",
        "visual.blocks.N.attn.qkv": "v.blk.N.attn_qkv",
        "visual.blocks.N.mlp.linear_fc1": "v.blk.N.ffn_up",
        "visual.blocks.N.mlp.linear_fc2": "v.blk.N.ffn_down",
        "visual.merger.norm": "v.post_ln",
        "visual.merger.linear_fc1": "mm.0",
        "visual.merger.linear_fc2": "mm.2",
    }
    LOADS = f"""
        {_visual.LOADS} {FEED_FORWARD}
        v.patch_embd.bias?       embd
        v.position_embd          embd positions
        v.post_ln.bias           embd
        v.blk.N.ln1.bias         embd
        v.blk.N.ln2.bias         embd
        v.blk.N.attn_qkv         embd 3*embd
        v.blk.N.attn_qkv.bias    3*embd
        v.blk.N.attn_out         embd embd
        v.blk.N.attn_out.bias?   embd
    """

    def of(self, name: str, x: Expression) -> Iterator[Made]:
        """(Qwen3VLVisionModel.modify_tensors) What a depth gives is called after its block."""
        if not name.startswith("visual.deepstack_merger_list."):
            yield from super().of(name, x)
            return
        number, _, rest = name.removeprefix("visual.deepstack_merger_list.").partition(".")
        part, _, suffix = rest.partition(".")
        known = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}
        at = int(number) if number.isdecimal() and len(number) < 5 else len(self.deepstack)
        if part not in known or suffix not in ("weight", "bias") or at >= len(self.deepstack):
            raise Error(
                f"tensor '{name}' cannot be mapped: this kind of projector has no such tensor",
                facts=[("deepstack_visual_indexes", str(self.deepstack))],
                hint="config.json belongs to another checkpoint",
            )
        yield Made(f"v.deepstack.{self.deepstack[at]}.{known[part]}.{suffix}", x)

    @cached_property
    def deepstack(self) -> list[int]:
        """The blocks behind which tokens are taken from the middle of the tower."""
        key = "deepstack_visual_indexes"
        found = self.vision.get(key) or []
        if (
            not isinstance(found, list)
            or len(set(map(str, found))) < len(found)
            or not all(type(n) is int and 0 <= n < self.blocks for n in found)
        ):
            raise self.vision.error(key, f"a list of different blocks below {self.blocks}", found)
        return found

    def needs(self) -> Iterator[tuple[Line, str]]:
        yield from super().needs()
        for block in self.deepstack:
            for line in lines(f"""
                v.deepstack.{block}.norm       merged
                v.deepstack.{block}.norm.bias  merged
                v.deepstack.{block}.fc1        merged merged
                v.deepstack.{block}.fc1.bias   merged
                v.deepstack.{block}.fc2        merged text
                v.deepstack.{block}.fc2.bias   text
            """):
                yield line, line.tensor

    def parameters(self, out: Writer) -> None:
        super().parameters(out)
        out.put("projector_type", "str", "qwen3vl_merger")
        out.put("use_gelu", "bool", True)
        if self.is_filled or self.vision.get("spatial_merge_size") is not None:
            out.put("vision.spatial_merge_size", "u32", self.merge)
        out.put("vision.attention.layer_norm_epsilon", "f32", self.text.number("rms_norm_eps", 1e-6))
        out.put("vision.is_deepstack_layers", "[bool]", [n in self.deepstack for n in range(self.blocks)])

    @cached_property
    def image_size(self) -> int:
        """(Qwen3VLVisionModel) Of the largest square whose patches have positions of their own."""
        if "image_size" in self.vision.values:
            return self.vision.count("image_size")
        return int(self.vision.count("num_position_embeddings") ** 0.5 * self.vision.count("patch_size"))

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        return {**super().sizes, "positions": self.vision.count("num_position_embeddings")}


class Qwen3VLMoe(Qwen3VL):
    CLASSES = ("Qwen3VLMoeForConditionalGeneration",)
    MODEL_TYPE = "qwen3_vl_moe"
    TEXT = {"hidden_size": 2048, "rms_norm_eps": 1e-6}


class Qwen35(Qwen3VL):
    CLASSES = ("Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration")
    MODEL_TYPE = ""
    VISION = {**Qwen3VL.VISION, "deepstack_visual_indexes": []}
    TEXT = {}
