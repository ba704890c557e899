"""Blocks for the prediction of several tokens (MTP): behind the model's own, or a file of their own, or nowhere.

A checkpoint has them beside its model, under `mtp.`; the file has them as further blocks, with what joins them to the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.architectures import Architecture, Item
from modelbuild.checkpoint.config import block_count
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json

KEEP, DROP, ONLY = "keep", "drop", "only"

DROP_THEM = 'set mtp = "drop" for a model without them'
"""What to do about a checkpoint whose blocks are of no use."""

NAMES = {
    "layers.N.eh_proj": "blk.N.nextn.eh_proj",
    "layers.N.enorm": "blk.N.nextn.enorm",
    "layers.N.hnorm": "blk.N.nextn.hnorm",
    "layers.N.shared_head.norm": "blk.N.nextn.shared_head_norm",
}
"""Further stems of NAMES (gguf-py tensor_mapping.py), which only these blocks have."""

LOADS = """
    nextn blk.N.nextn.eh_proj             2*embd embd
    nextn blk.N.nextn.enorm               embd
    nextn blk.N.nextn.hnorm               embd
    nextn blk.N.nextn.embed_tokens?       embd vocab
    nextn blk.N.nextn.shared_head_head?   embd vocab
    nextn blk.N.nextn.shared_head_norm?   embd
"""
"""Further lines of LOADS."""

SHAPES = """
    blk.N.nextn.eh_proj           2*embd embd
    blk.N.nextn.enorm             embd
    blk.N.nextn.hnorm             embd
    blk.N.nextn.embed_tokens      embd vocab
    blk.N.nextn.shared_head_head  embd vocab
    blk.N.nextn.shared_head_norm  embd
"""
"""Further lines of SHAPES."""

_MTP = "mtp."
_STARTS = (_MTP, f"model.{_MTP}")
_BLOCK = re.compile(r"mtp\.layers\.([0-9]{1,9})\.(.+)")
_JOINING = {
    "mtp.fc": "eh_proj",
    "mtp.pre_fc_norm_embedding": "enorm",
    "mtp.pre_fc_norm_hidden": "hnorm",
    "mtp.norm": "shared_head.norm",
}
_SHARED = frozenset(
    f"{start}{stem}{end}"
    for stem in ("embed_tokens", "embeddings", "norm", "norm_f", "lm_head")
    for start in ("", "model.")
    for end in ("", ".weight")
)
"""What the blocks need of the model, as checkpoints call it."""
LIMIT = 16
"""Blocks for further tokens; real models have one."""


class Mtp(Architecture):
    """A mixin for architectures whose checkpoints may have such blocks (llama.cpp conversion/qwen.py, _QwenMtpMixin).

    KEY     what config.json calls their number
    CALLED  what their tensors are called
    """

    KEY: ClassVar[str] = "mtp_num_hidden_layers"
    CALLED: ClassVar[str] = "mtp.…"

    def predicted(self, names: Iterable[str]) -> set[str]:
        """Those of some tensors of the checkpoint that belong to such blocks."""
        return {name for name in names if name.startswith(_STARTS)}

    @cached_property
    def further(self) -> int:
        """How many such blocks the file has."""
        if self.checkpoint.mtp == DROP or not self.predicted(self.checkpoint.tensors):
            return 0
        count = self._declared or self.counted
        if count > 1:
            raise Error(
                f"the checkpoint has {count} blocks for the prediction of several tokens, and llama.cpp's runtime loads one",
                path="config.json",
                facts=[("from", self.KEY if self._declared else f"tensors '{self.CALLED}'")],
                hint=DROP_THEM,
            )
        return count

    @property
    def _declared(self) -> int:
        count = self.config.get(self.KEY) or 0
        if type(count) is not int or not 0 <= count <= LIMIT:
            raise Error(
                f"'{self.KEY}' expects a whole number from 0 to {LIMIT}, got {in_json(count)}", path="config.json"
            )
        return count

    @property
    def counted(self) -> int:
        """How many there are by the names of tensors, where config.json says none."""
        numbers = [int(found[1]) for name in self.checkpoint.tensors if (found := _BLOCK.fullmatch(_short(name)))]
        if not numbers or max(numbers) >= LIMIT:
            got = f"got block {max(numbers)}" if numbers else "got none"
            raise Error(
                f"the checkpoint expects blocks 0 to {LIMIT - 1} at most below '{_MTP}layers.', {got}",
                hint=DROP_THEM,
            )
        return max(numbers) + 1

    @property
    def blocks(self) -> range:
        count = block_count(self.config)
        return range(count if self.checkpoint.mtp == ONLY else 0, count + self.further)

    def has(self, stem: str, block: int) -> bool:
        # What joins the blocks to the model stands in the first of them.
        return block == block_count(self.config) if ".nextn." in stem else super().has(stem, block)

    def choose(self, tensors: Mapping[str, Item]) -> Mapping[str, Item]:
        """(_QwenMtpMixin.filter_tensors). Raises Error where only these blocks are wanted and there are none."""
        mode, further = self.checkpoint.mtp, self.predicted(tensors)
        if mode == ONLY and not further:
            raise Error(
                f"the checkpoint has no blocks for the prediction of several tokens (no tensor '{self.CALLED}')"
            )
        if mode == ONLY:
            tensors = {name: x for name, x in tensors.items() if name in further or name in _SHARED}
        elif mode == DROP:
            kept = dict(tensors)
            for name in further:
                del kept[name]
            return kept
        return {self.in_file(name) if name in further else name: x for name, x in tensors.items()}

    def in_file(self, name: str) -> str:
        """What a tensor of these blocks would be called if they stood behind the model's own."""
        return self.joined(_short(name))

    def joined(self, name: str) -> str:
        """What a tensor `mtp.…` is called as one of a further block of the model."""
        first = block_count(self.config)
        if block := _BLOCK.fullmatch(name):
            return f"model.layers.{first + int(block[1])}.{block[2]}"
        stem, _, suffix = name.rpartition(".")
        return f"model.layers.{first}.{_JOINING[stem]}.{suffix}" if stem in _JOINING else name

    def with_further(self, values: Values) -> Values:
        """The hyper-parameters with the count of all blocks, and of these."""
        values |= {f"{self.NAME}.block_count": encode_value("u32", self.blocks.stop)}
        return values | (
            {f"{self.NAME}.nextn_predict_layers": encode_value("u32", self.further)} if self.further else {}
        )


class Idle(Mtp):
    """A mixin for those whose file has such blocks, any number, and whose runtime leaves them alone (llama.cpp conversion/exaone.py)."""

    KEY = "num_nextn_predict_layers"

    @cached_property
    def further(self) -> int:
        return self._declared if has_mtp(self.checkpoint.tensors) else 0

    def has(self, stem: str, block: int) -> bool:
        return block >= block_count(self.config) if ".nextn." in stem else super().has(stem, block)

    def choose(self, tensors: Mapping[str, Item]) -> Mapping[str, Item]:
        """What joins a block to the model is the same in all of them; so are the blocks, if config.json says so (mtp_share_layers)."""
        own, found = block_count(self.config), dict[str, Item]()
        further = range(own, own + self.further)
        for name, x in tensors.items():
            short = _short(name)
            block, (stem, _, suffix) = _BLOCK.fullmatch(short), short.rpartition(".")
            if not short.startswith(_MTP):
                found[name] = x
            elif stem in _JOINING:
                found |= {f"model.layers.{number}.{_JOINING[stem]}.{suffix}": x for number in further}
            elif block is None:
                found[short] = x
            elif further:
                numbers = further if self.config.get("mtp_share_layers") else (own + int(block[1]),)
                found |= {f"model.layers.{number}.{block[2]}": x for number in numbers}
        return found

    def doubts(self) -> Iterator[Error]:
        yield from super().doubts()
        if self._declared and not self.further:
            yield Error(
                f"config.json declares blocks for the prediction of several tokens ({self.KEY}), but the checkpoint has none: "
                "the model is made without them",
                path="config.json",
                hint="llama.cpp's runtime does not use them in this architecture",
            )


def belongs(name: str, mode: str) -> bool:
    """Whether a tensor of a checkpoint goes into the file, by what becomes of these blocks (_QwenMtpMixin.filter_tensors)."""
    if name.startswith(_STARTS):
        return mode != DROP
    return mode != ONLY or _is_shared(name)


def _is_shared(name: str) -> bool:
    return name in _SHARED


def has_mtp(tensors: Iterable[str]) -> bool:
    """Whether a checkpoint with tensors of these names has such blocks."""
    return any(name.startswith(_STARTS) for name in tensors)


def _short(name: str) -> str:
    return name.removeprefix("model.") if name.startswith(f"model.{_MTP}") else name
