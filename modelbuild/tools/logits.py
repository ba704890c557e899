"""llama-perplexity: what a model foretells of each token of a text, to be compared with what others made of it do.

Source: llama.cpp tools/perplexity/perplexity.cpp (perplexity, process_logits)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild import tools
from modelbuild.errors import Error
from modelbuild.files import open_plain
from modelbuild.tools import Closure, Entries, Needs, Read, Sizes, _closure

VERSION = 1
TITLE = "llama-perplexity"
SCRIPT = False
OUTPUT = "logits"

_HEAD = struct.Struct("<8sIii")
"""Magic, tokens of a context, tokens of the vocabulary, chunks of text."""
_CONTEXT = 1 << 30
TOKENS = 512
"""Tokens of a context, if nobody says another number."""
_LONG = 8


def closure(folder: str, entries: Entries) -> Closure:
    return _closure.of_binary(folder, entries, "llama-perplexity")


def arguments(options: Mapping[str, Any], roles: Sequence[str]) -> list[str]:
    """options: `text`, the name of the file; `chunks`, where not all of it is read."""
    chunks = ["--chunks", str(options["chunks"])] if options.get("chunks") else []
    made = tools.beside(f"{tools.MADE}/{OUTPUT}")
    return ["-m", tools.beside(f"{tools.MODEL}/model.gguf"), "-f", options["text"], "--save-all-logits", made, *chunks]


def needs(options: Mapping[str, Any], sizes: Sizes) -> Needs:
    """The file takes at least so much: no text that makes sense has more than `_LONG` bytes to a token."""
    most = max(1, sizes.text // (_LONG * TOKENS))
    chunks = min(options.get("chunks") or most, most)
    return Needs(_CONTEXT, _size(TOKENS, sizes.vocabulary, chunks) if sizes.vocabulary else _HEAD.size)


def read(path: str, said: str) -> Read:
    """The file's size must be what its head says: the program ends without an error where the text is too short."""
    size = os.stat(path).st_size
    with open_plain(path) as file:
        data = file.read(_HEAD.size)
    if len(data) < _HEAD.size:
        raise Error("the text is too short", hint=f"take one of at least {2 * TOKENS} tokens")
    magic, context, vocabulary, chunks = _HEAD.unpack(data)
    if magic != b"_logits_" or vocabulary <= 0 or chunks <= 0 or context < 4:
        raise Error("it is not a file of logits")
    expected = _size(context, vocabulary, chunks)
    if size != expected:
        raise Error(f"expected a file of {expected:,} bytes, got {size:,}")
    return Read()


def _size(context: int, vocabulary: int, chunks: int) -> int:
    """Bytes of the file: the tokens of each chunk, and for those of its second half a number of 16 bits for each of the vocabulary."""
    row = 2 * (2 * ((vocabulary + 1) // 2) + 4)
    return _HEAD.size + 4 * chunks * context + chunks * (context - 1 - context // 2) * row
