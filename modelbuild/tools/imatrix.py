"""llama-imatrix: the importance matrix of a model, from a text.

Source: llama.cpp tools/imatrix/imatrix.cpp
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild import tools
from modelbuild.errors import Error
from modelbuild.tools import Closure, Entries, Needs, Read, Sizes, _closure

VERSION = 1
TITLE = "llama-imatrix"
SCRIPT = False
OUTPUT = "imatrix.gguf"

_CONTEXT = 512 << 20
"""Bytes of memory for the context and what it computes."""


def closure(folder: str, entries: Entries) -> Closure:
    return _closure.of_binary(folder, entries, "llama-imatrix")


def arguments(options: Mapping[str, Any], roles: Sequence[str]) -> list[str]:
    """options: `text`, the name of the file; `chunks`, where not all of it is read. The file says the name as it is given here."""
    chunks = ["--chunks", str(options["chunks"])] if options.get("chunks") else []
    model = tools.beside(f"{tools.MODEL}/model.gguf")
    return ["-m", model, "-f", options["text"], "-o", tools.beside(f"{tools.MADE}/{OUTPUT}"), *chunks]


def needs(options: Mapping[str, Any], sizes: Sizes) -> Needs:
    # The model is mapped: of one that is larger than the memory, some is read more than once.
    return Needs(_CONTEXT, 64 << 20)


def read(path: str, said: str) -> Read:
    from modelbuild.tensors.formats import imatrix

    found = imatrix.read(path)
    if not found.entries:
        raise Error("it contains no entry")
    return Read()
