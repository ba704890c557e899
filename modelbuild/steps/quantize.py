"""Turn a recipe into the recipe of the file that llama-quantize makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import Inputs, Looked
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.tensors.ftypes import Mix
    from modelbuild.tensors.quantization import Importance
    from modelbuild.tensors.recipe import Recipe

VERSION = 1
MAKES = "recipe"
TYPES = True
POOL = "thread"


class Parameters(TypedDict, total=False):
    """How to quantize.

    ftype       one of ftypes.FTYPES
    mix         the fields of ftypes.Mix
    requantize  quantize also what is quantized already
    imatrix     the path of the file in the role `imatrix`, as the user wrote it, or the name of the one in the role `made`,
                which a step makes: it goes into the metadata
    """

    ftype: str
    mix: Mapping[str, Any] | None
    requantize: bool | None
    imatrix: str | None


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe of the one in the role `recipe`."""
    return _asked(parameters, inputs).made().encode()


def look(parameters: Parameters, inputs: Inputs) -> Looked:
    """Make the recipe, and say where it is silently another than the type's name says."""
    from modelbuild.tensors.quantization import doubts

    asked = _asked(parameters, inputs)
    made = asked.made()
    return Looked(made, doubts(asked.source, made, asked.ftype, asked.mix, asked.importance))


class _Asked(NamedTuple):
    source: Recipe
    ftype: str
    mix: Mix
    requantize: bool
    importance: Importance | None

    def made(self) -> Recipe:
        from modelbuild.tensors.quantization import quantize

        return quantize(self.source, self.ftype, self.mix, requantize=self.requantize, importance=self.importance)


def _asked(parameters: Parameters, inputs: Inputs) -> _Asked:
    from modelbuild.tensors.ftypes import Mix

    fields = dict(parameters.get("mix") or {})
    fields["tensors"] = tuple((pattern, quant) for pattern, quant in fields.get("tensors", ()))
    path = parameters.get("imatrix")
    return _Asked(
        inputs.recipe("recipe"),
        parameters["ftype"],
        Mix(**fields),
        bool(parameters.get("requantize")),
        _importance(path, inputs) if path is not None else None,
    )


def _importance(path: str, inputs: Inputs) -> Importance:
    from modelbuild.tensors.formats import imatrix
    from modelbuild.tensors.quantization import Importance

    data = inputs.artifact("made") if "made" in inputs.roles() else inputs.file("imatrix") or b""
    try:
        return Importance(imatrix.parse(data, "imatrix"), path)
    except Error as error:
        raise error.of_input() from error
