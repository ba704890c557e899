"""Heads of values in the order of Qwen3.5's files: those of one key apart, as ggml repeats the keys.

A checkpoint has the heads of values of one key one after another, K0 V0 V1, K1 V0 V1; the file has the first of each key, then the second.
Source: llama.cpp conversion/qwen.py (_LinearAttentionVReorderBase, _Qwen35MRopeMixin)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from modelbuild.checkpoint.architectures import _gated_delta
from modelbuild.checkpoint.architectures._gated_delta import GatedDelta, extent, heads_of
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.architectures._mtp import LOADS
from modelbuild.checkpoint.architectures._sections import check_sections
from modelbuild.checkpoint.config import number, rope_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.take import Run, take
from modelbuild.tensors.recipe import Expression

SECTIONS = [11, 11, 10, 0]
"""Of the rotary embedding, where config.json says none."""

LOADED = f"""
    {EMBEDDING} {OUTPUT} {_gated_delta.ATTENTION} {LOADS}
    recurrent blk.N.ssm_alpha         embd rank
    recurrent blk.N.ssm_beta          embd rank
"""
"""Lines of LOADS."""


class TiledValues(GatedDelta):
    """A mixin for Qwen3.5 and what followed it."""

    ASKS = (*_gated_delta.ASKS, "rope.dimension_sections")
    NAMES: ClassVar[Mapping[str, str]] = {
        **GatedDelta.NAMES,
        "layers.N.linear_attn.in_proj_qkv": "blk.N.attn_qkv",
        "layers.N.linear_attn.in_proj_z": "blk.N.attn_gate",
        "layers.N.linear_attn.in_proj_a": "blk.N.ssm_alpha",
        "layers.N.linear_attn.in_proj_b": "blk.N.ssm_beta",
    }

    def parameters(self, file_type: int) -> Values:
        values = super().parameters(file_type)
        if "mrope_section" in rope_parameters(self.config):
            check_sections(self.config)
        else:
            values |= {f"{self.NAME}.rope.dimension_sections": encode_value("[i32]", SECTIONS)}
        return values

    def linear(self, source: str, x: Expression) -> Iterator[tuple[str, Expression]]:
        yield from super().linear(source, self._tiled(source, x) if "linear_attn." in source else x)

    def _tiled(self, source: str, x: Expression) -> Expression:
        """The tensor with its heads of values in the file's order."""
        keys, each = heads_of(self.config)
        if each == 1:
            return x
        key, value = number(self.config, "linear_key_head_dim"), number(self.config, "linear_value_head_dim")
        before = 2 * keys * key
        if ".in_proj_qkv." in source:
            return _in_tiles(source, x, 0, keys, each, value, before)
        if ".in_proj_z." in source:
            return _in_tiles(source, x, 0, keys, each, value)
        if ".in_proj_b." in source or ".in_proj_a." in source:
            return _in_tiles(source, x, 0, keys, each, 1)
        if any(part in source for part in (".A_log", ".dt_bias", ".dt_proj")):
            return _in_tiles(source, x, len(x.shape) - 1, keys, each, 1)
        if ".conv1d" in source:
            squeezed = reshape(x, tuple(extent for extent in x.shape if extent != 1))
            return _in_tiles(source, squeezed, 0, keys, each, value, before)
        if ".out_proj." in source:
            return _in_tiles(source, x, 1, keys, each, value)
        return x


def _in_tiles(source: str, x: Expression, axis: int, keys: int, each: int, size: int, before: int = 0) -> Expression:
    """An axis with `before` indices, then `size` for each head of values, of which a key has `each`."""
    said = "linear_num_value_heads" + (" * linear_value_head_dim" if size > 1 else "")
    extent(source, x, axis, before + keys * each * size, f"queries and keys, {said}" if before else said)
    tiles = Run(before, size, inner=keys, inner_step=each * size, outer=each, outer_step=size)
    return take(x, axis, *([Run(0, before)] if before else []), tiles)
