"""The part of an adapter that goes into one of two files: a model without its blocks for further tokens, or these alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.checkpoint.adapters.places import Places, text_name
from modelbuild.checkpoint.architectures import _mtp
from modelbuild.tensors.ftypes import block_of

X = TypeVar("X")


def of(adapter: Adapter, mtp: str, places: Places) -> Adapter:
    """What an adapter changes in the file of `places`, which has or lacks these blocks as the checkpoint's conversion did.

    mtp  `drop`: the file is without them, and what the adapter says of them is left out; `only`: it has these blocks, the embedding,
         the output and its norm, and what the adapter says of the other blocks is left out
    Names that neither of the two files has are not left out: whoever places the tensors says that the model lacks them.
    """

    def goes(name: str) -> bool:
        if not adapter.placed:
            return _mtp.belongs(text_name(name), mtp)
        return name in places.entries if mtp == _mtp.ONLY else block_of(name) != places.blocks

    def kept(named: Mapping[str, X]) -> dict[str, X]:
        return {name: x for name, x in named.items() if goes(name)}

    return replace(
        adapter,
        pairs=kept(adapter.pairs),
        biases=kept(adapter.biases),
        whole=kept(adapter.whole),
        rows=kept(adapter.rows),
        fused=[each for each in adapter.fused if goes(f"{each.module}.")],
    )
