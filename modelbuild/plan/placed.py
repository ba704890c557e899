"""Errors of a step, at the place where the project says what the step was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.errors import Error
from modelbuild.project import locate

if TYPE_CHECKING:
    from modelbuild.engine.graph import Step


def placed(error: Error, step: Step) -> Error | None:
    """An error about a parameter of a step, at the place where the project says it; None for one about something else.

    Its path names the parameter, as `ftype`, or what stands in it two keys deep, as `mix.tensors.attn_v`.
    """
    parameter, *inside = (error.path or "").split(".", 2)
    spelled = dict(step.places).get(parameter)
    if spelled is None:
        return None
    place = locate.recalled(spelled).at(*inside)
    return place.error(error.what, facts=error.facts, hint=error.hint, value=not inside)
