"""Parts of a checkpoint that become GGUF files of their own beside its text model, one file for each kind.

The file's name is the part's, which is also the kind of its layer. Each file defines the following.

    FILES                           the small files that its conversion depends on, there or not
    reads(config) -> bool           whether checkpoints with this config.json may have the part; decided without their tensors
    is_given(config, names) -> bool whether a checkpoint of these tensors has it; of a block's experts there may be one alone
    lacking(config, gap) -> Error | None
                                    the warning about one of `reads` that has it not, if that is worth one; `gap`: missing files
    lost(config, gap) -> Error | None
                                    the error about the same, where files are missing that the part must have lain in
    convert(files, folder, outtype, pre, architecture) -> Converted
                                    `architecture` is the class that the checkpoint is read as, whatever config.json says
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from modelbuild.checkpoint.config import Config
    from modelbuild.checkpoint.conversion import Folder
    from modelbuild.checkpoint.shards import Gap
    from modelbuild.errors import Error
    from modelbuild.tensors.recipe import Recipe


class Converted(Protocol):
    """A part as it is converted. Each member raises Error for what is wrong with the checkpoint."""

    @property
    def recipe(self) -> Recipe: ...

    def faults(self) -> list[Error]:
        """All that is wrong, each told once."""

    def warnings(self) -> list[Error]:
        """What is worth a look in a part without faults."""


class Part(Protocol):
    """A module of this folder."""

    FILES: Sequence[str]

    def reads(self, config: Config, /) -> bool: ...
    def is_given(self, config: Config, names: Collection[str], /) -> bool: ...
    def lacking(self, config: Config, gap: Gap | None, /) -> Error | None: ...
    def lost(self, config: Config, gap: Gap, /) -> Error | None: ...
    def convert(
        self, files: Folder, /, folder: str, outtype: str, pre: str | None, architecture: str | None
    ) -> Converted: ...


@cache
def names() -> tuple[str, ...]:
    """The kinds of parts."""
    files = os.listdir(os.path.dirname(__file__))
    return tuple(sorted(name[:-3] for name in files if name.endswith(".py") and not name.startswith("_")))


@cache
def get(name: str) -> Part:
    """The module of a part."""
    module: Part = import_module(f"{__name__}.{name}")
    return module


def possible(config: Config) -> list[str]:
    """The parts that a checkpoint with this config.json may have."""
    return [name for name in names() if get(name).reads(config)]


def lacking(config: Config, tensors: Collection[str], gap: Gap | None = None) -> Iterator[Error]:
    """Warnings about the parts that a checkpoint of these tensors may have by its class, and has not; `gap`: which files are missing."""
    for part in _not_given(config, tensors):
        if warning := part.lacking(config, gap):
            yield warning


def lost(config: Config, tensors: Collection[str], gap: Gap | None) -> Iterator[Error]:
    """Errors about the same parts, where the missing files must have held them."""
    for part in _not_given(config, tensors) if gap else ():
        if gap and (error := part.lost(config, gap)):
            yield error


def _not_given(config: Config, tensors: Collection[str]) -> Iterator[Part]:
    return (part for part in map(get, possible(config)) if not part.is_given(config, tensors))
