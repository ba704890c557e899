"""Tools are programs of the user's own that make a part of a model, one file for each.

The file's name is the tool's, as steps call it; each defines the parts of `Tool`. What a tool makes is *foreign*: what decides it is
recorded as far as we can know it, and the bytes are the program's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from modelbuild.checkpoint.chat import ENCODERS
from modelbuild.errors import Error
from modelbuild.observed import Listing
from modelbuild.tuples import NamedTuple

Entries = Callable[[str], Listing]
"""Lists a folder, in words of `observed.entries`; one that is not there has nothing."""

PROGRAM, INPUT, MODEL, BASE, MADE = "tool", "input", "model", "base", "made"
"""The folders that a tool sees, beside one another: its own files, what it reads, models that we made, and where it writes.

The roles of a step's inputs are the paths in them. A tool begins in `input`.
"""

DATA = (".gguf", ".jinja")
"""Endings of a tool's own files that are read where they lie; all others it sees as copies."""

INTERPRETER = "interpreter"
"""The role of the interpreter of a script, which runs where it lies."""


class Closure(NamedTuple):
    """The files that a tool consists of.

    folder  in which they lie
    files   their paths there, with `/`
    main    the one that is started; "" where it is not among them
    """

    folder: str
    files: tuple[str, ...]
    main: str


class Sizes(NamedTuple):
    """What a tool has to do with, as far as that is known: bytes of all that it reads, and of the largest tensor.

    text        bytes of what it reads besides weights
    vocabulary  tokens of the model
    """

    inputs: int
    largest: int
    text: int = 0
    vocabulary: int = 0


class Needs(NamedTuple):
    """Bytes of memory and on the disk that a tool takes."""

    memory: int
    disk: int


class Read(NamedTuple):
    """What a tool made, as our own reader found it.

    answer   the artifact, where that is what the tool said and no file
    tensors  (digest, offset, bytes) of each tensor in a file of weights
    """

    answer: bytes | None = None
    tensors: Sequence[tuple[str, int, int]] = ()


class Cut(Exception):
    """The end of what a program said is missing, though it ended well: it is run again."""


class Tool(Protocol):
    """A module of this folder.

    VERSION  the next number when it is run otherwise, or read otherwise
    TITLE    what messages call it
    SCRIPT   whether it needs an interpreter
    OUTPUT   the name of the file that it makes in `made`; "" for none
    """

    VERSION: int
    TITLE: str
    SCRIPT: bool
    OUTPUT: str

    def closure(self, folder: str, entries: Entries) -> Closure:
        """Find its files in the folder that the project names."""

    def arguments(self, options: Mapping[str, Any], roles: Sequence[str]) -> list[str]:
        """What it is started with; paths are relative to `input`."""

    def needs(self, options: Mapping[str, Any], sizes: Sizes) -> Needs:
        """What it takes, so that it is not started in vain."""

    def read(self, path: str, said: str) -> Read:
        """Read what it made at `path`, and what it said. Raises Error where that cannot be believed, Cut where its end is missing."""


_PARTS = ("VERSION", "TITLE", "SCRIPT", "OUTPUT", "closure", "arguments", "needs", "read")


@cache
def names() -> tuple[str, ...]:
    """Every tool."""
    files = os.listdir(os.path.dirname(__file__))
    return tuple(sorted(name[:-3] for name in files if name.endswith(".py") and not name.startswith("_")))


@cache
def get(name: str) -> Tool:
    """The module of a tool. Raises KeyError for a name that is none."""
    if name not in names():
        raise KeyError(name)
    found: Any = import_module(f"modelbuild.tools.{name}")
    missing = [part for part in _PARTS if not hasattr(found, part)]
    assert not missing, f"{found.__name__} lacks {', '.join(missing)}"
    return found  # type: ignore[no-any-return]


def encoder(tool: str, architecture: str) -> Error | None:
    """The error for a tool that reads what a model foretells, if that is one of embeddings: llama.cpp's graph ends before any token."""
    keys = {"imatrix": ("imatrix", 'imatrix = ""'), "logits": ("gate", 'gate = { kld = "" }')}
    if tool not in keys or architecture not in ENCODERS:
        return None
    key, line = keys[tool]
    return Error(
        f"a model of embeddings foretells no tokens: {get(tool).TITLE} cannot read '{architecture}'",
        hint=f"leave the model out of '{key}', also of that in [defaults]: set {line} in its table",
    )


def vocabulary(shapes: Mapping[str, Sequence[int]]) -> int:
    """How many tokens a model has, by the shapes of its tensors; 0 where they do not tell."""
    table = shapes.get("token_embd.weight", ())
    return table[0] if len(table) == 2 else 0


def beside(path: str) -> str:
    """A role's path as a tool says it, which begins in `input`."""
    first, _, rest = path.partition("/")
    return rest if first == INPUT else f"../{path}"
