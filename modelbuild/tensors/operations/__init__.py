"""The operations of recipes, one file each. The file's name is the operation's; each file defines the following.

    VERSION                                  the next number when it makes other bytes than before
    NAME(…) -> Expression                    what is to be made; raises ValueError where dtypes or shapes do not fit
    unit(x) -> int                           elements of x that are made together; the block of its dtype need not be counted
    footprint(x, first, count) -> int        bytes of memory that making these elements takes, besides what they take themselves
    evaluate(x, reader, name, first, count)  the bytes of elements `first` to `first + count` of x, both multiples of its unit

A NAME that Python has taken ends in an underscore: `slice_`.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
from functools import cache
from importlib import import_module
from types import ModuleType

PARTS = ("VERSION", "unit", "footprint", "evaluate")


@cache
def names() -> tuple[str, ...]:
    files = os.listdir(os.path.dirname(__file__))
    return tuple(sorted(file[:-3] for file in files if file.endswith(".py") and not file.startswith("_")))


@cache
def get(name: str) -> ModuleType:
    """The module of an operation. Raises KeyError for a name that is none, TypeError where the file lacks a part."""
    if name not in names():
        raise KeyError(name)
    module = import_module(f"modelbuild.tensors.operations.{name}")
    makes = f"{name}_" if hasattr(builtins, name) else name
    if missing := [part for part in (*PARTS, makes) if not hasattr(module, part)]:
        raise TypeError(f"operation '{name}' lacks {', '.join(missing)}: {module.__file__}")
    return module


def versions() -> dict[str, int]:
    """The operations that make other bytes than at first, and their VERSION: with it a file that is made of a recipe is another."""
    return {name: found for name in names() if (found := version(name)) > 1}


def version(name: str) -> int:
    """The VERSION of an operation. One that is not imported yet is told from its text: every plan asks, and importing all takes long."""
    module = f"{__name__}.{name}"
    if module in sys.modules:
        return int(sys.modules[module].VERSION)
    return _told(name) or int(get(name).VERSION)


@cache
def _told(name: str) -> int:
    """The VERSION that the text of an operation says; 0 where it is not a plain number."""
    with open(os.path.join(os.path.dirname(__file__), f"{name}.py"), encoding="utf-8") as file:
        found = re.search(r"^VERSION = (\d+)$", file.read(), re.MULTILINE)
    return int(found[1]) if found else 0
