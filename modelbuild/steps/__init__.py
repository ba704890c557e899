"""Steps are what actions run, one file for each kind. A step sees only its parameters and its inputs."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from modelbuild.engine.action import Made
    from modelbuild.steps._inputs import BlobInputs, Inputs, Looked

FINAL = ("layer", "config")
"""What goes into the models folder. The weights of an export are made again if they are gone."""


class Kind(Protocol):
    """A module of this folder. It is imported to plan and to show, so that what its work needs is imported in `run`.

    VERSION     the next number when the bytes that it makes change
    MAKES       what: `recipe`, `layer`, `config`, `manifest`, the `weights` of an export or for a tool, what is `foreign`
                (a tool makes it), or a `verdict` on a model
    POOL        `` for quick work, `thread` where it waits for files, `cores` where it uses every core by itself
    Parameters  a TypedDict: the planner makes it, `run` reads it; None says nothing, and is not spelled
    """

    __name__: str
    VERSION: int
    MAKES: str
    POOL: str
    Parameters: Any

    def run(self, parameters: Any, inputs: BlobInputs, /) -> bytes | Made:
        """Make the artifact: its bytes, or what `inputs` made of them. Raises Error."""


class RecipeKind(Kind, Protocol):
    """A kind that makes recipes, which a look before a build makes as well, of tables without digests.

    TYPES  whether it decides the types of the tensors, rather than to leave them as they were
    """

    TYPES: bool

    def look(self, parameters: Any, inputs: Inputs, /) -> Looked:
        """Make the recipe, and say what is doubtful. Raises Errors, where more than one thing is wrong: all of them."""


_PARTS = ("VERSION", "MAKES", "POOL", "Parameters", "run")
_PARTS_OF = {"recipe": ("TYPES", "look"), "layer": (), "weights": (), "config": (), "manifest": (),
             "foreign": (), "verdict": ()}  # fmt: skip


@cache
def module(kind: str) -> Kind:
    """The module of a step kind: `convert` is convert.py, `import`, which Python has taken, is import_.py."""
    found: Any = import_module(f"modelbuild.steps.{kind}{'_' * iskeyword(kind)}")
    makes = getattr(found, "MAKES", "")
    missing = [part for part in (*_PARTS, *_PARTS_OF.get(makes, ())) if not hasattr(found, part)]
    assert not missing, f"{found.__name__} lacks {', '.join(missing)}"
    assert makes in _PARTS_OF, f"{found.__name__} makes a '{makes}', expected one of {', '.join(_PARTS_OF)}"
    return found  # type: ignore[no-any-return]


def kind_of(module: Kind) -> str:
    """The kind that a module is."""
    return module.__name__.rpartition(".")[2].rstrip("_")


def is_foreign(kind: str) -> bool:
    """Whether a program of the user's own makes what steps of a kind make."""
    return module(kind).MAKES == "foreign"


def recipe_kind(kind: str) -> RecipeKind | None:
    """The module of a kind that makes recipes; None for another kind."""
    found: Any = module(kind)
    return found if found.MAKES == "recipe" else None
