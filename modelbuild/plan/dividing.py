"""A plan that was just made, divided by models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelbuild.engine.graph import Graph
from modelbuild.errors import Error
from modelbuild.plan.naming import owner, type_of
from modelbuild.plan.parts import Divided, Part, Placed, Shared
from modelbuild.plan.planner import Planner
from modelbuild.project.project import Project
from modelbuild.project.variant import Variant, within


def divided(
    project: Project,
    planner: Planner,
    named: Mapping[str, str],
    graph: Graph,
    said: Mapping[str, Sequence[Error]],
) -> Divided:
    """Divide a plan with this graph, whose steps are `named` by their keys. `said` are the warnings of each model from planning it."""
    declared, digests = planner.declared, planner.declared.digests()
    own: dict[str, dict[str, Placed]] = {}
    asks: dict[str, dict[str, dict[str, None]]] = {}
    shared: dict[str, Shared] = {}
    types: dict[str, str | None] = {}
    for number, key in enumerate(declared.steps):
        variants = declared.asked[key].variants
        placed = Placed(number, graph.steps[named[key]])
        if len(models := {each.model for each in variants}) == 1:
            own.setdefault(models.pop(), {})[digests[key]] = placed
            continue
        type_ = type_of(key, declared.steps, declared.asked, types)
        shared[digests[key]] = Shared(*placed, type_, owner(key, declared.asked, named[key]))
        for each in variants:
            asks.setdefault(each.model, {}).setdefault(each.label, {})[digests[key]] = None
    made = {output.label: output for output in graph.outputs}
    rows: dict[str, list[tuple[int, Variant]]] = {}
    whole: dict[str, bool] = {}
    for number, called in enumerate(project.targets.called):
        whole[called.model] = whole.get(called.model, True) and called.label in made
        if isinstance(called, Variant):
            rows.setdefault(called.model, []).append((number, called))
    prompts = planner.prompts.by_label()
    parts: dict[str, Part] = {}
    for model, placed_rows in rows.items():
        origin = project.origins[model]
        variants = [each for _, each in placed_rows]
        good = [(number, each) for number, each in placed_rows if each.label in made]
        part = of_model(variants, planner, {label: [*each] for label, each in asks.get(model, {}).items()})
        parts[model] = part._replace(
            whole=whole[model],
            order=tuple(number for number, _ in good),
            outputs=tuple(made[each.label] for _, each in good),
            steps=own.get(model, {}),
            found=origin.found,
            files=origin.files,
            parts=origin.parts,
            warnings=[*origin.warnings, *said.get(model, ())],
            prompts=[(each.label, *prompts[each.label]) for each in variants if each.label in prompts],
        )
    return Divided(parts, shared)


def of_model(variants: Sequence[Variant], planner: Planner, shared: Mapping[str, Sequence[str]]) -> Part:
    """What the planner knows of a model's variants, without their steps."""
    froms = {each.label: [within(line.text, line.part) for line in each.froms] for each in variants}
    said = [text for lines in froms.values() for text in lines]
    meant = {text: [each.label for each in planner.meant[text]] for text in said if text in planner.meant}
    bases = dict.fromkeys(base for each in variants for base in planner.based.get(each.label, ()))
    return Part(True, (), (), {}, shared, froms, meant, [*bases], {}, [], [], [], [])
