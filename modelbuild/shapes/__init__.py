"""Shapes are the layouts of exported models, one file for each: which files a runner or a registry wants.

A shape reads and writes no files. It is given finished models, and says which files they become; whoever exports them copies the bytes.
The file's name is the shape's, with `_` for `-`; each file defines the following.

    tree(models, folder) -> Iterator[Entry]  the files of some models that are exported to the same folder
    said(models, folder) -> str              how they are used then, for the last line of an export; "" for nothing

A shape may also define `SPLIT`, how its files are split unless somebody says otherwise, and `WANTS`, "blobs" (the model's own, as it
is without it) or "checkpoint" (its weights as a Hugging Face folder). `SPLITS = False` is for one that has no split files.
`LEAVES_OUT` names the kinds of layers that its files lack, and why; other layers that it has no place for are an error.
`artifact(model) -> Artifact` is for one that is pushed to registries, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

PARTS = ("tree", "said")
DEFAULT = "folder"
CHECKPOINT = "checkpoint"


@cache
def names() -> tuple[str, ...]:
    """The shapes, as they are asked for."""
    files = os.listdir(os.path.dirname(__file__))
    return tuple(
        sorted(name[:-3].replace("_", "-") for name in files if name.endswith(".py") and not name.startswith("_"))
    )


@cache
def get(name: str) -> ModuleType:
    """The module of a shape. Raises KeyError for a name that is none, TypeError where the file lacks a part."""
    if name not in names():
        raise KeyError(name)
    module = import_module(f"modelbuild.shapes.{name.replace('-', '_')}")
    if missing := [part for part in PARTS if not hasattr(module, part)]:
        raise TypeError(f"shape '{name}' lacks {', '.join(missing)}: {module.__file__}")
    return module


@cache
def pushed() -> tuple[str, ...]:
    """The shapes that are pushed to registries."""
    return tuple(name for name in names() if is_pushed(name))


def is_pushed(name: str) -> bool:
    """Whether a shape is pushed to registries: then it names its files by their digests."""
    return hasattr(get(name), "artifact")


def wants(name: str) -> str:
    """What a shape is made of: "blobs" or "checkpoint"."""
    return str(getattr(get(name), "WANTS", "blobs"))


def split_of(name: str) -> Any:
    """How the files of a shape are split unless somebody says otherwise; None: they are not."""
    return getattr(get(name), "SPLIT", None)


def leaves_out(name: str) -> Mapping[str, str]:
    """The kinds of layers that a shape leaves out of its files -> why, and what to do instead."""
    return getattr(get(name), "LEAVES_OUT", {})


def splits(name: str) -> bool:
    """Whether a shape has split files."""
    return bool(getattr(get(name), "SPLITS", True))
