"""GGUF files that were split: their parts, the one file that they are, and where a file is to be split.

Source: llama.cpp tools/gguf-split/gguf-split.cpp
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelbuild.errors import Error
from modelbuild.tensors import ftypes
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value, scalar
from modelbuild.tensors.formats.limit import Limit
from modelbuild.tensors.tensor import Tensor, TensorTable
from modelbuild.tuples import NamedTuple
from modelbuild.words import shown

PARTS_LIMIT = 512
"""Parts of a file. They are all open at once while they are written."""


class Part(NamedTuple):
    """A part of a split file: its head, and the tensors of the whole file that follow it, each padded to 32 bytes."""

    head: bytes
    tensors: tuple[Tensor, ...]


def parts(table: TensorTable, limit: Limit) -> tuple[Part, ...]:
    """The parts that `llama-gguf-split --split` makes of a file; one for a file that fits.

    table  of the whole file. Raises Error where no part can be as small, and for a file that is split or laid out otherwise.
    """
    if is_part(table):
        raise Error("is a part of a split file already")
    alignment = scalar(table.metadata, "general.alignment")
    if alignment not in (None, gguf.ALIGNMENT):
        raise Error(f"cannot be split: its tensors are aligned to {alignment} bytes, expected {gguf.ALIGNMENT}")
    groups: list[list[Tensor]] = [[]]
    size = 0
    for number, tensor in enumerate(table.tensors.values()):
        padded = gguf.padded(tensor.length)
        size += padded
        if size > limit.size > 0 or (limit.tensors and number and number % limit.tensors == 0):
            if not groups[-1]:
                raise Error(
                    f"cannot be split into parts so small: tensor '{shown(tensor.name)}' is {padded:,} bytes long",
                    facts=[("limit", f"{limit.size:,} bytes")],
                    hint="name a larger size",
                )
            groups.append([])
            size = padded
        groups[-1].append(tensor)
    if len(groups) > PARTS_LIMIT:
        what = f"would be split into {len(groups):,} parts, expected at most {PARTS_LIMIT}"
        raise Error(what, hint="name a larger size")
    return tuple(_part(table, groups, number) for number in range(len(groups)))


def _part(table: TensorTable, groups: Sequence[Sequence[Tensor]], number: int) -> Part:
    metadata = {key: value for key, value in table.metadata.items() if key not in _SPLIT} if number == 0 else {}
    # In this order: the tool sets the count last, when it knows it.
    metadata["split.no"] = encode_value("u16", number)
    metadata["split.tensors.count"] = encode_value("i32", len(table.tensors))
    metadata["split.count"] = encode_value("u16", len(groups))
    tensors = tuple(groups[number])
    head = gguf.header(metadata, [(each.name, each.dtype, ftypes.stripped(each.shape)) for each in tensors])
    return Part(head, tensors)


_SPLIT = ("split.no", "split.count", "split.tensors.count")


def is_part(table: TensorTable) -> bool:
    """Whether a table is that of one part of a split file."""
    count = scalar(table.metadata, "split.count")
    return isinstance(count, int | float) and count > 1


def merge(parts: Sequence[tuple[str, TensorTable]]) -> TensorTable:
    """One table of the parts of a split file, as `llama-gguf-split --merge` makes one file of them.

    parts  (file name, table), in any order
    Raises Error where they are not all the parts of one file. Offsets in the result are those in the parts.
    """
    by_number: dict[int, tuple[str, TensorTable]] = {}
    counts = set()
    for name, table in parts:
        values: list[Any] = [scalar(table.metadata, key) for key in _SPLIT]
        if not all(type(value) is int for value in values):
            raise Error(
                "is not part of a split GGUF file: split.no, split.count or split.tensors.count is missing", path=name
            )
        number, count, total = values
        if number in by_number:
            raise Error(f"is part {number + 1} of a split file, and so is '{by_number[number][0]}'", path=name)
        by_number[number] = (name, table)
        counts.add((count, total))
    if len(counts) > 1:
        raise Error(
            "the parts do not belong together: they disagree on how many parts or tensors there are",
            path=parts[0][0],
        )
    ((count, total),) = counts
    missing = [str(number + 1) for number in range(min(count, 1 << 16)) if number not in by_number]
    if missing or len(by_number) != count:
        raise Error(
            f"the split file is incomplete: {len(by_number)} of {count} parts are here",
            path=parts[0][0],
            facts=[("missing", f"part {', '.join(missing[:8])}")] if missing else [],
        )
    tensors: dict[str, Tensor] = {}
    for number in range(count):
        name, table = by_number[number]
        for tensor in table.tensors.values():
            if tensor.name in tensors:
                raise Error(f"tensor '{shown(tensor.name)}' is in two parts of a split file", path=name)
            tensors[tensor.name] = tensor
    if len(tensors) != total:
        raise Error(
            f"the parts contain {len(tensors)} tensors, expected {total} (split.tensors.count)", path=parts[0][0]
        )
    metadata = {key: value for key, value in by_number[0][1].metadata.items() if key != "split.count"}
    metadata["split.count"] = encode_value("u16", 0)
    return TensorTable(metadata, tensors)
