"""Tables of tensors: names, and the dimensions of each in words, as llama.cpp's source has them (src/models/NAME.cpp, load_arch_tensors).

A line is a name and its dimensions as ggml has them, innermost first: `blk.N.attn_norm  embd`, N for each block. The suffix is `.weight`
where none is said. `?` behind a name: the file may lack it. `dense`, `experts` and `shared` before it: only in blocks without experts,
with experts, with experts that all tokens share. `blk.N.qkv  Q K V` stands for queries, keys and values in one tensor or in three, with
biases if the file has any (src/llama-model.cpp, create_tensor_qkv).

The dimensions: `embd`, `vocab`, `ff` (feed forward), `head` (of a key), `heads`, `queries`, `keys`, `values` (all heads together),
`experts`, `ff_exp`, `ff_shexp` (feed forward of an expert, of the shared one), `rot/2`; and multiples of these, as `2*ff`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SHOWN = 4
"""Kinds of tensors that an error shows."""


_LINE = re.compile(r"(?:(dense|experts|shared) )?([\w.]+)(\?)?((?: +[\w*/]+)+)")


class Line(NamedTuple):
    """One line of a table.

    when        `dense`, `experts` or `shared`; empty: always
    optional    whether a file may lack it
    dimensions  in words, innermost first
    """

    when: str
    name: str
    optional: bool
    dimensions: tuple[str, ...]


def lines(table: str) -> tuple[Line, ...]:
    """The lines of a table, in their order."""
    found = []
    for text in filter(None, map(str.strip, table.split("\n"))):
        line = _LINE.fullmatch(re.sub(" +", " ", text))
        assert line is not None, text
        when, name, optional, dimensions = line.groups()
        found.append(Line(when or "", name, bool(optional), tuple(dimensions.split())))
    return tuple(found)
