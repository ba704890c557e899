"""Qwen2-VL and Qwen2.5-VL: rotary positions, and in the second most blocks look at windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.projectors import Made, _visual
from modelbuild.checkpoint.projectors._loads import ATTENTION, FEED_FORWARD
from modelbuild.checkpoint.projectors._section import Writer
from modelbuild.checkpoint.projectors._visual import Visual
from modelbuild.errors import Error
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression

_NAMES = {
    **_visual.NAMES,
    "visual.blocks.N.attn.q": "v.blk.N.attn_q",
    "visual.blocks.N.attn.k": "v.blk.N.attn_k",
    "visual.blocks.N.attn.v": "v.blk.N.attn_v",
    "visual.merger.ln_q": "v.post_ln",
    "visual.merger.mlp.0": "mm.0",
    "visual.merger.mlp.2": "mm.2",
}


class _Split(Visual):
    """TYPE  `clip.projector_type`"""

    TYPE: ClassVar[str]

    def of(self, name: str, x: Expression) -> Iterator[Made]:
        """(Qwen2VLVisionModel.modify_tensors) Queries, keys and values are matrices of their own."""
        if ".qkv." not in name:
            yield from super().of(name, x)
            return
        rows = x.shape[0] // 3 if x.shape else 0
        if not rows or x.shape[0] % 3:
            raise Error(f"tensor '{name}' expects queries, keys and values in as many rows, got {list(x.shape)}")
        for number, part in enumerate("qkv"):
            yield Made(self.rename(name.replace("qkv", part)), slice_(x, 0, number * rows, (number + 1) * rows))

    def parameters(self, out: Writer) -> None:
        super().parameters(out)
        out.put("projector_type", "str", self.TYPE)
        self.write_windows(out)
        # The text model's, where its configuration is not apart from the rest.
        out.put("vision.attention.layer_norm_epsilon", "f32", self.top.number("rms_norm_eps", 1e-6))

    def write_windows(self, out: Writer) -> None:
        """Write which blocks look at windows."""


class Qwen2VL(_Split):
    CLASSES = ("Qwen2VLForConditionalGeneration",)
    MODEL_TYPE = "qwen2_vl"
    TYPE = "qwen2vl_merger"
    VISION = {
        "image_size": 560,
        "depth": 32,
        "embed_dim": 1280,
        "hidden_size": 3584,
        "mlp_ratio": 4,
        "num_heads": 16,
        "patch_size": 14,
    }
    TEXT = {"hidden_size": 8192}
    NAMES = {
        **_NAMES,
        "visual.blocks.N.mlp.fc1": "v.blk.N.ffn_up",
        "visual.blocks.N.mlp.fc2": "v.blk.N.ffn_down",
    }
    LOADS = f"""
        {_visual.LOADS} {ATTENTION}
        v.post_ln.bias?          embd
        v.blk.N.ln1.bias?        embd
        v.blk.N.ln2.bias?        embd
        v.blk.N.ffn_up           embd mlp
        v.blk.N.ffn_up.bias?     mlp
        v.blk.N.ffn_down         mlp embd
        v.blk.N.ffn_down.bias?   embd
    """

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        # What is called hidden_size here is the width of the text model; it is written as that of the feed forward.
        embd = self.vision.count("embed_dim")
        return {
            "embd": embd,
            "ff": self.vision.count("hidden_size"),
            "mlp": embd * self.vision.count("mlp_ratio"),
            "merged": embd * self.merge**2,
            "patch": self.vision.count("patch_size"),
            "text": self.width,
        }


class Qwen25VL(_Split):
    CLASSES = ("Qwen2_5_VLForConditionalGeneration",)
    MODEL_TYPE = "qwen2_5_vl"
    TYPE = "qwen2.5vl_merger"
    VISION = {
        "image_size": 560,
        "depth": 32,
        "hidden_size": 3584,
        "intermediate_size": 3420,
        "num_heads": 16,
        "patch_size": 14,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    TEXT = {"hidden_size": 8192}
    NAMES = {
        **_NAMES,
        "visual.blocks.N.mlp.gate_proj": "v.blk.N.ffn_gate",
        "visual.blocks.N.mlp.up_proj": "v.blk.N.ffn_up",
        "visual.blocks.N.mlp.down_proj": "v.blk.N.ffn_down",
    }
    LOADS = f"""
        {_visual.LOADS} {ATTENTION} {FEED_FORWARD}
        v.blk.N.ffn_gate         embd ff
        v.blk.N.ffn_gate.bias?   ff
    """

    def write_windows(self, out: Writer) -> None:
        out.put("use_silu", "bool", True)
        out.put("vision.n_wa_pattern", "u32", self._pattern)

    @cached_property
    def _pattern(self) -> int:
        """How many blocks there are from one that looks at the whole image to the next. Raises Error where that is no number."""
        key = "fullatt_block_indexes"
        found = self.vision.get(key)
        if not isinstance(found, list) or not found or not all(type(n) is int and 0 <= n < 1 << 16 for n in found):
            raise self.vision.error(key, "a list of blocks", found)
        every = found[0] + 1
        if every == 1:
            # The runtime asks for the mask of windows that no block looks at, and ends.
            raise self.vision.error(key, "blocks with others between them, which look at windows", found)
        if any(after - before != every for before, after in zip(found, found[1:], strict=False)):
            raise self.vision.error(
                key, "blocks that are as far from one another as the first is from the start", found
            )
        return int(every)
