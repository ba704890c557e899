"""Blocks for the prediction of several tokens that a checkpoint numbers as the next ones behind its model's own, as GLM's do.

Source: llama.cpp conversion/glm.py (Glm4MoeModel, Glm4MoeLiteModel, GlmMoeDsaModel)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from modelbuild.checkpoint.architectures import _mtp
from modelbuild.checkpoint.architectures._mtp import DROP, DROP_THEM, LIMIT, Mtp
from modelbuild.checkpoint.config import Config, block_count
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value

COUNT = "num_nextn_predict_layers"

NAMES = {
    **_mtp.NAMES,
    "layers.N.embed_tokens": "blk.N.nextn.embed_tokens",
    "layers.N.shared_head.head": "blk.N.nextn.shared_head_head",
}
"""Further stems of NAMES (gguf-py tensor_mapping.py), which only these blocks have."""

OPTIONAL = r"blk\.N\.nextn\.(embed_tokens|shared_head_head|shared_head_norm)"
"""Stems that these blocks may do without: the model's own stand in."""

_BLOCK = re.compile(r"(?:model\.)?layers\.([0-9]{1,9})\.(.+)")


class NumberedMtp(Mtp):
    """A mixin: such blocks are those from num_hidden_layers on, if config.json counts them or one of them is joined to the model."""

    KEY = COUNT
    CALLED = "model.layers.….eh_proj.weight"
    COUNTS_NONE = True
    """Whether the file says that there are none, where config.json does."""

    def predicted(self, names: Iterable[str]) -> set[str]:
        first = block_count(self.config)
        found = {name for name in names if (block := _BLOCK.match(name)) and int(block[1]) >= first}
        return found if found and self._are_told else set()

    @cached_property
    def _are_told(self) -> bool:
        return bool(self.config.get(COUNT)) or is_joined(self.checkpoint.tensors, block_count(self.config))

    @property
    def counted(self) -> int:
        first = block_count(self.config)
        numbers = [int(found[1]) for name in self.checkpoint.tensors if (found := _BLOCK.match(name))]
        count = max(numbers, default=-1) + 1 - first
        if not 0 < count <= LIMIT:
            raise Error(
                f"the checkpoint expects at most {LIMIT} blocks behind its {first} own, got {count}", hint=DROP_THEM
            )
        return count

    def in_file(self, name: str) -> str:
        return name

    def with_further(self, values: Values) -> Values:
        """The same; a count of none is said where config.json says it."""
        values = super().with_further(values)
        if self.COUNTS_NONE and self.checkpoint.mtp != DROP and self.config.get(COUNT) == 0 and not self.further:
            values |= {f"{self.NAME}.nextn_predict_layers": encode_value("u32", 0)}
        return values


def is_joined(names: Iterable[str], first: int) -> bool:
    """Whether a checkpoint with tensors of these names has blocks from number `first` on that are joined to its model."""
    blocks = map(_BLOCK.match, names)
    return any(block and int(block[1]) >= first and block[2].startswith("eh_proj.") for block in blocks)


def are_given(config: Config, names: Iterable[str]) -> bool:
    """Whether a checkpoint has such blocks, by its config.json and the names of its tensors. Raises Error for no count of blocks."""
    first = block_count(config)
    if not config.get(COUNT):
        return is_joined(names, first)
    blocks = map(_BLOCK.match, names)
    return any(block and int(block[1]) >= first for block in blocks)
