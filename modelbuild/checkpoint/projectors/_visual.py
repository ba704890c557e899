"""What the towers of the Qwen family have in common: two patches in time for a patch of an image, and patches merged in squares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.projectors import Made, Projector
from modelbuild.checkpoint.projectors._loads import MERGER
from modelbuild.errors import Error
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression

NAMES = {
    "visual.patch_embed.proj": "v.patch_embd",
    "visual.blocks.N.norm1": "v.blk.N.ln1",
    "visual.blocks.N.norm2": "v.blk.N.ln2",
    "visual.blocks.N.attn.proj": "v.blk.N.attn_out",
}

LOADS = f"""
    v.patch_embd             patch patch 3 embd
    v.patch_embd.weight.1    patch patch 3 embd
    v.post_ln                embd
    v.blk.N.ln1              embd
    v.blk.N.ln2              embd
    {MERGER}
"""


class Visual(Projector):
    TOWER = ("visual.",)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[Made]:
        for name, x in sources.items():
            yield from self.of(name, x)

    def of(self, name: str, x: Expression) -> Iterator[Made]:
        """The tensors that are made of one of the checkpoint."""
        if name == "visual.patch_embed.proj.weight":
            yield from in_time(name, x)
        else:
            yield Made(self.rename(name), x)

    @cached_property
    def blocks(self) -> int:
        return self.vision.blocks("depth")

    @cached_property
    def heads(self) -> int:
        return self.heads_of("num_heads")

    @cached_property
    def merge(self) -> int:
        """How many patches make one side of a square that becomes one token."""
        return self.vision.count("spatial_merge_size") if "spatial_merge_size" in self.vision.values else 2

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        sizes = super().sizes
        return {**sizes, "merged": sizes["embd"] * self.merge**2}


def in_time(name: str, x: Expression) -> Iterator[Made]:
    """[embd, 3, 2, height, width], a convolution over two images -> one for each. Raises Error for any other shape."""
    if len(x.shape) != 5 or x.shape[2] != 2:
        raise Error(
            f"tensor '{name}' expects five dimensions, and two images in time, got {list(x.shape)}",
            hint="config.json belongs to another checkpoint",
        )
    embd, colours, _, height, width = x.shape
    flat = reshape(x, (embd * colours, 2, height * width))
    for number, suffix in enumerate(("weight", "weight.1")):
        one = slice_(flat, 1, number, number + 1)
        yield Made(f"v.patch_embd.{suffix}", reshape(one, (embd, colours, height, width)))
