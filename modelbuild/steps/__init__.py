"""Steps: what an action runs, one file a kind, with its `VERSION` and `run`. A step sees its parameters and inputs and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelbuild.errors import Error

if TYPE_CHECKING:
    from modelbuild.engine.graph import Step


def module(kind: str) -> Any:
    """The module of a step kind: `convert` is convert.py, `import`, which Python has taken, is importing.py."""
    return import_module("modelbuild.steps." + ("importing" if kind == "import" else kind))


def placed(error: Error, step: Step) -> Error | None:
    """An error about a parameter of a step, at the place where the project says it; None for one about something else.

    Its path names the parameter, as `ftype`, or what stands in it two keys deep, as `mix.tensors.attn_v`.
    """
    from modelbuild.project import locate

    parameter, *inside = (error.path or "").split(".", 2)
    spelled = dict(step.places).get(parameter)
    if spelled is None:
        return None
    place = locate.recalled(spelled).at(*inside)
    return place.error(error.what, facts=error.facts, hint=error.hint, value=not inside)
