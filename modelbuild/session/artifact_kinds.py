"""What a file of the cache is, by its first bytes."""

from __future__ import annotations

import os
from typing import Literal

from modelbuild.engine.store import DAMAGED
from modelbuild.files import PARTIAL, UNFINISHED, first_bytes
from modelbuild.tensors.recipe import MAGIC

Kind = Literal["weights", "recipe", "manifest", "config", "text", "damaged", "unfinished"]

KINDS: tuple[Kind, ...] = ("weights", "recipe", "config", "manifest", "text", "damaged", "unfinished")

_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"GGUF", "weights"),
    (MAGIC, "recipe"),
    (b'{"schemaVersion"', "manifest"),
    (b'{"model_format"', "config"),
)


def kind(path: str) -> Kind:
    """The kind of an artifact. Other layers than weights, and what cannot be read, count as texts."""
    if os.path.basename(os.path.dirname(path)) == DAMAGED:
        return "damaged"
    if os.path.basename(path).startswith((UNFINISHED, PARTIAL)):
        return "unfinished"
    try:
        start = first_bytes(path, 32)
    except OSError:
        return "text"
    for begins, named in _STARTS:
        if start.startswith(begins):
            return named
    # A safetensors file begins with the length of its header, which is JSON.
    return "weights" if start[8:10] == b'{"' and start[5:8] == b"\0\0\0" else "text"
