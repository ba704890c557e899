"""From declared variants to the graph of steps: all of a project, or again some models of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelbuild.engine.graph import Graph, Output
from modelbuild.errors import Error, Errors
from modelbuild.observed import Observed
from modelbuild.plan import dividing, parts
from modelbuild.plan.declared import output_renamed, renamed
from modelbuild.plan.naming import names
from modelbuild.plan.parts import Divided
from modelbuild.plan.planner import Elsewhere, Planner
from modelbuild.plan.pulled import NotPulled, Wrote, nobody
from modelbuild.plan.remarks import Remark
from modelbuild.project.broken import Broken
from modelbuild.project.lock import Outside, Pins
from modelbuild.project.project import Project
from modelbuild.tuples import NamedTuple


class Plan(NamedTuple):
    """The graph of all that can be built; what is broken, with all that is based on it; warnings, and remarks on the models.

    outside  by the label of a variant, what of elsewhere it is based on
    divided  the same by models
    """

    graph: Graph
    broken: Sequence[Broken]
    warnings: Sequence[Error]
    remarks: Sequence[Remark]
    outside: Mapping[str, Outside]
    divided: Divided


def plan(
    project: Project,
    observed: Observed,
    libraries: Sequence[str],
    pins: Pins | None = None,
    cache: str | None = None,
    wrote: Wrote = nobody,
    wanted: str | None = None,
) -> Plan:
    """Plan every variant of a project.

    libraries  the models folders that FROM looks in
    pins       what the lock says that names mean which are not of this project
    cache      the folder where is kept what was seen of them
    wrote      see `Wrote`
    wanted     what shapes that are not declared want of the models, as `shapes.wants` says
    """
    elsewhere = Elsewhere(libraries, pins or {}, cache, wrote)
    planner = Planner(project, project.variants, project.root, observed, elsewhere, wanted)
    made: list[Output] = []
    broken: list[Broken] = []
    said: dict[str, Sequence[Error]] = {}
    for called in project.targets.called:
        if isinstance(called, Broken):
            broken.append(called)
            continue
        before = planner.count()
        try:
            made.append(planner.output(called))
        except (Error, Errors) as fault:
            missing = fault.wanted if isinstance(fault, NotPulled) else None
            broken.append(Broken.of(called, fault.errors, missing))
        said[called.model] = [*said.get(called.model, ()), *planner.warned_since(before)]
    declared = planner.declared
    named = names(declared.steps, declared.asked)
    steps = (renamed(step, named) for step in declared.steps.values())
    graph = Graph(steps, (output_renamed(output, named) for output in made))
    divided = dividing.divided(project, planner, named, graph, said)
    part = graph.select(graph.outputs) if broken else graph
    return Plan(part, broken, planner.warnings, parts.remarks(divided.parts.values()), planner.outside, divided)
