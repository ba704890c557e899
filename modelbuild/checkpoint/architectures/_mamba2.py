"""Models whose blocks are state space models (Mamba-2), but for some with attention: what Granite 4 and Nemotron-H share.

Source: llama.cpp conversion/mamba.py (Mamba2Model), conversion/granite.py (GraniteHybridModel), src/models/mamba-base.cpp
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.config import Config, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.neg_exp import neg_exp
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json, listed

MIXER = """
    recurrent blk.N.ssm_in            embd ssm_in
    recurrent blk.N.ssm_conv1d        conv ssm_conv
    recurrent blk.N.ssm_conv1d.bias   ssm_conv
    recurrent blk.N.ssm_dt.bias       rank
    recurrent blk.N.ssm_a.            1 rank
    recurrent blk.N.ssm_d.            1 rank
    recurrent blk.N.ssm_norm          ssm_group groups
    recurrent blk.N.ssm_out           ssm embd
"""
"""Lines of LOADS. The runtime loads a convolution without a bias, and then ends itself."""

SHAPES = MIXER.replace("recurrent ", "")

ASKS = ("ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count")

NEEDED = ("blk.N.ssm_a", "blk.N.ssm_d", "blk.N.ssm_dt.bias", "blk.N.ssm_conv1d.bias")

ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output")
"""The stems that only blocks with attention have."""

_BARE = {"A_log": "ssm_a", "D": "ssm_d", "dt_bias": "ssm_dt.bias"}
"""Tensors without a suffix in the checkpoint."""


def names(prefix: str) -> dict[str, str]:
    """Stems of NAMES, where a checkpoint calls such a block's mixer `prefix`."""
    return {f"{prefix}.{part}": f"blk.N.ssm_{known}" for part, known in _PARTS.items()}


_PARTS = {"in_proj": "in", "conv1d": "conv1d", "norm": "norm", "out_proj": "out"}


class Mamba2(Architecture):
    """A mixin: the metadata of the mixers, their tensors, and the sizes of both.

    A subclass says with `kinds` which blocks have one.
    """

    @property
    def tokenizer(self) -> Values:
        """The vocabulary, SentencePiece where there is a tokenizer.model (Mamba2Model.set_vocab).

        llama.cpp's converter fills it up to a multiple of 8; its runtime would not load a file with more tokens than rows.
        """
        size = tokenizers.vocabulary_size(self.config)
        return tokenizers.sentencepiece(self.checkpoint, size) or tokenizers.byte_pairs(self.checkpoint, size)

    def kinds(self) -> list[str]:
        """What each block is: `recurrent` with such a mixer, `attention`, `forward` with neither, `nextn` for further tokens."""
        raise NotImplementedError

    def has(self, stem: str, block: int) -> bool:
        part = stem.removeprefix("blk.N.")
        if part.startswith("ssm_"):
            return self.kinds()[block] == "recurrent"
        return part not in ATTENTION or self.kinds()[block] in ("attention", "nextn")

    @property
    def inner(self) -> int:
        """The channels of a mixer (`d_inner`)."""
        raise NotImplementedError

    @property
    def groups(self) -> int:
        return self._divided("groups", "n_groups", "num_groups")

    @property
    def heads(self) -> int:
        return self._divided("heads", "n_heads", "num_heads")

    def _divided(self, what: str, *keys: str) -> int:
        """A count of parts of the channels. Raises Error where they do not divide."""
        count = mamba_number(self.config, *keys)
        if self.inner % count:
            raise Error(
                f"the {self.inner} channels of a Mamba mixer do not divide into {count} {what}", path="config.json"
            )
        return count

    @property
    def state(self) -> int:
        return mamba_number(self.config, "state_size", "d_state", "state_dim", "ssm_state_size")

    def mixers(self) -> Values:
        """Their metadata (GraniteHybridModel.set_gguf_parameters)."""
        out = Writer(self.NAME, self.config)
        out.put("ssm.conv_kernel", "u32", mamba_number(self.config, "conv_kernel", "d_conv"), "conv_kernel")
        out.put("ssm.state_size", "u32", self.state, "state_size")
        out.put("ssm.group_count", "u32", self.groups, "n_groups")
        out.put("ssm.inner_size", "u32", self.inner, "expand")
        out.put("ssm.time_step_rank", "u32", self.heads, "n_heads")
        return out.values

    def shared_heads(self) -> Values:
        """Heads of keys for each block, none where there is no attention."""
        heads = number(self.config, "num_key_value_heads", "n_head_kv")
        each = [heads if kind in ("attention", "nextn") else 0 for kind in self.kinds()]
        return {f"{self.NAME}.attention.head_count_kv": encode_value("[i32]", each)}

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        inner, groups, heads = self.inner, self.groups, self.heads
        mixed = 2 * groups * self.state
        return {
            "conv": (mamba_number(self.config, "conv_kernel", "d_conv"), "convolution kernel"),
            "rank": (heads, "heads of a mixer"),
            "groups": (groups, "groups of a mixer"),
            "ssm": (inner, "channels of a mixer"),
            "ssm_group": (inner // groups, "channels of a mixer / groups"),
            "ssm_conv": (inner + mixed, "channels of a mixer + 2 * groups * state size"),
            "ssm_in": (2 * inner + mixed + heads, "2 * channels of a mixer + 2 * groups * state size + heads"),
            "1": (1, "1"),
        }

    def unclamped(self) -> Iterator[Error]:
        """A warning where a model was trained with steps in time between limits, of which the runtime knows none."""
        limits = self.config.get("time_step_limit")
        if isinstance(limits, list) and limits and (limits[0] not in (0, None) or not _is_infinite(limits[-1])):
            yield Error(
                "the model was trained with limits of its steps in time, and llama.cpp's runtime computes without: "
                "the answers will be others",
                path="config.json",
                facts=[("time_step_limit", listed(map(str, limits)))],
            )

    def mixer(self, source: str, x: Expression) -> Iterator[tuple[str, Expression]]:
        """The tensor that one of a mixer becomes (Mamba2Model.modify_tensors).

        The convolution [channels, 1, kernel] becomes a matrix, A and D of [heads] a column, the norm of [channels] a row for each group.
        """
        stem, _, part = source.rpartition(".")
        if part in _BARE:
            stem, _, _ = self.rename(f"{stem}.in_proj.weight").rpartition("ssm_in")
            if part == "A_log":
                x = neg_exp(x)
            yield stem + _BARE[part], x if part == "dt_bias" else reshape(x, (*x.shape, 1))
        elif source.endswith("conv1d.weight"):
            if len(x.shape) != 3 or x.shape[1] != 1:
                raise Error(f"tensor '{source}' expects [channels, 1, kernel], got {list(x.shape)}")
            yield self.rename(source), reshape(x, (x.shape[0], x.shape[2]))
        elif source.endswith(".norm.weight"):
            if x.shape != (self.inner,):
                raise Error(
                    f"tensor '{source}' expects [{self.inner}], one value for each channel of a mixer, got {list(x.shape)}",
                    path="config.json",
                )
            yield self.rename(source), reshape(x, (self.groups, self.inner // self.groups))
        else:
            yield self.rename(source), x


def _is_infinite(limit: object) -> bool:
    """Whether a limit is none, in one of the forms in which transformers writes it."""
    return limit in (math.inf, None, "Infinity", {"__float__": "Infinity"})


def mamba_number(config: Config, *keys: str) -> int:
    """A count, of the first key that is there, each also with `mamba_` before it (GraniteHybridModel.find_hparam)."""
    prefixed = [f"mamba_{key}" for key in keys]
    return number(config, next((key for key in (*keys, *prefixed) if key in config), prefixed[0]))


def listed_kinds(config: Config, key: str, count: int) -> list[str]:
    """The kinds of all blocks, which a key lists. Raises Error for another list than one text for each."""
    kinds = config.get(key)
    if not isinstance(kinds, list) or len(kinds) != count or not all(isinstance(kind, str) for kind in kinds):
        got = f"a list of {len(kinds)}" if isinstance(kinds, list) else in_json(kinds)
        raise Error(f"'{key}' expects a list with one text for each of {count} blocks, got {got}", path="config.json")
    return kinds
