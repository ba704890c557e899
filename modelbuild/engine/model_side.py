"""What a build asks of those who know models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from modelbuild.engine.action import Action, ActionResult, Made
from modelbuild.engine.graph import Graph, Output, Step
from modelbuild.engine.scheduler import Away
from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

Publish = Callable[[Output, ActionResult, list[ActionResult]], bool]


class ModelSide(NamedTuple):
    """The functions of a build that know models.

    work       make and store the artifact of an action
    publish    put an output's manifest and all it is made of where they are wanted, or see that they stand there; says whether
               anything changed
    together   publish many outputs at once, as far as that goes; `publish` is asked for each of them afterwards
    restore    put again what somebody took of an output since it was published; says whether anything was gone
    preflight  tell what is known to stand against the steps of a graph that are to run, by step
    costs      the seconds that steps which are to run may take
    placed     the error of a step with the place that it stands at for a user: a file, or where the project says a parameter
    abort      have the actions under way give up
    away       where steps run that do not run here
    """

    work: Callable[[Action, Step], Made]
    publish: Publish
    together: Callable[[Sequence[tuple[Output, ActionResult, list[ActionResult]]]], None] = lambda outputs: None
    restore: Publish = lambda output, manifest, blobs: False
    preflight: Callable[[Graph, Collection[str]], Mapping[str, Sequence[Error]]] = lambda graph, running: {}
    costs: Callable[[Graph, Collection[str]], Mapping[str, float]] = lambda graph, running: {}
    placed: Callable[[Error, Step], Error] = lambda error, step: error
    abort: Callable[[], None] = lambda: None
    away: Away | None = None
