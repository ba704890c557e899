"""numpy, imported when something of it is first used: most runs compute nothing, and it is slow to load."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


class Lazy:
    """A module that is imported when something of it is first used."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self._module), name)
        # Found without coming by here the next time.
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    np = numpy
else:
    np = Lazy("numpy")
