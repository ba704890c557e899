"""Everything that a step may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.engine.action import ActionResult, Made
    from modelbuild.errors import Error
    from modelbuild.tensors.recipe import Expression, Recipe
    from modelbuild.tensors.tensor import TensorTable


T = TypeVar("T")


class Looked(NamedTuple):
    """What a look before a build gives: the recipe, and what is worth a look and stops nothing."""

    recipe: Recipe
    warnings: Sequence[Error] = ()


class Inputs(Protocol):
    """A step's inputs by role; no store, no path, no name of the step's own, no clock and no network.

    What is wrong with a file is an Error whose `input` is its role.
    """

    def roles(self) -> Sequence[str]: ...

    def file(self, role: str, /) -> bytes | None:
        """The bytes of a small source; None where it is absent."""

    def tables(self) -> Sequence[tuple[str, TensorTable]]:
        """The tensor tables of the weights files, by role; in a look before a build the tensors have no digests yet."""

    def shared(self, what: object, make: Callable[[], T], /) -> T:
        """What follows from config.json, the index and the tables alone: a look before a build makes it once for several steps."""

    def artifact(self, role: str, /) -> bytes:
        """The bytes of what another step made."""

    def recipe(self, role: str, /) -> Recipe:
        """The recipe that another step made."""

    def values(self, x: Expression, /) -> bytes:
        """The bytes of a small tensor of the weights files among the sources, or of what is made of such.

        The digest of a weights file is one of all of its tensors' digests: what is read here, the action knows.
        """


class BlobInputs(Inputs, Protocol):
    """What a step may see and do that makes a part of a finished model."""

    def entry(self, role: str, /) -> ActionResult:
        """Digest and size of what another step made."""

    def copy(self, role: str, /, link: bool) -> Made:
        """Take a source file as it is: by hard link if `link` and where the file system can."""

    def pack(self, recipe: Recipe, /) -> Made:
        """Make the safetensors file that the recipe of a checkpoint describes."""

    def materialize(self, recipe: Recipe, /, *, stored: bool = False) -> Made:
        """Make the GGUF file that a recipe describes; one that is `stored` goes into no models folder."""

    def program(self, tool: str, options: Mapping[str, Any], /) -> Made:
        """Run a tool in a view of the inputs, read what it made, and take that."""
