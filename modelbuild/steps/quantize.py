"""Turn a recipe into the recipe of the file that llama-quantize makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from modelbuild.errors import Error
from modelbuild.steps._inputs import Inputs

if TYPE_CHECKING:
    from modelbuild.tensors.quantization import Importance

VERSION = 1
MAKES = "recipe"
TYPES = True
POOL = "thread"


class Parameters(TypedDict, total=False):
    """How to quantize.

    ftype       one of ftypes.FTYPES
    mix         the fields of ftypes.Mix
    requantize  quantize also what is quantized already
    imatrix     the path of the file in the role `imatrix`, as the user wrote it: it goes into the metadata
    """

    ftype: str
    mix: Mapping[str, Any] | None
    requantize: bool | None
    imatrix: str | None


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Make the recipe of the one in the role `recipe`."""
    from modelbuild.tensors.ftypes import Mix
    from modelbuild.tensors.quantization import quantize
    from modelbuild.tensors.recipe import Recipe

    source = Recipe.decode(inputs.artifact("recipe"))
    fields = dict(parameters.get("mix") or {})
    fields["tensors"] = tuple((pattern, quant) for pattern, quant in fields.get("tensors", ()))
    path = parameters.get("imatrix")
    importance = _importance(path, inputs) if path is not None else None
    requantize = bool(parameters.get("requantize"))
    return quantize(source, parameters["ftype"], Mix(**fields), requantize=requantize, importance=importance).encode()


def _importance(path: str, inputs: Inputs) -> Importance:
    from modelbuild.tensors.formats import imatrix
    from modelbuild.tensors.quantization import Importance

    data = inputs.file("imatrix") or b""
    try:
        return Importance(imatrix.parse(data, "imatrix"), path)
    except Error as error:
        raise error.of_input() from error


look = run
