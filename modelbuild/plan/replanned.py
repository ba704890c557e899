"""Some models of a project planned again, after an edit of their Modelfiles; all else stays as it was planned.

Names of steps depend on all who ask for them, and warnings on all that is declared. So what an edit may change is bounded: the models
stay based on what they were, ask for the same steps together with others, and are warned of the same. Any other edit has everything
planned anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from modelbuild.errors import Error, Errors, once
from modelbuild.observed import Observed
from modelbuild.plan import dividing
from modelbuild.plan.declared import output_renamed, renamed
from modelbuild.plan.naming import names
from modelbuild.plan.parts import Divided, Part, Placed
from modelbuild.plan.planner import Elsewhere, Planner
from modelbuild.plan.remarks import Bare
from modelbuild.project.broken import Broken
from modelbuild.project.loader import LoadedModels
from modelbuild.project.project import Origin
from modelbuild.project.variant import From, Variant, within

Owners = Callable[[Iterable[str]], Mapping[str, Collection[str]]]
"""Digests of steps -> the models that asked for them alone."""


class Otherwise(Exception):
    """The edit reaches further than to the models that were planned again."""


class _Known:
    """The names of a project, as far as they were asked for before."""

    def __init__(self, loaded: LoadedModels, kept: Mapping[str, Part]) -> None:
        self._variants = {each.label: each for each in loaded.variants}
        self._parts = loaded.parts
        self._meant = {text: labels for part in kept.values() for text, labels in part.meant.items()}

    def candidates(self, text: str, part: str = "") -> tuple[Variant | Broken, ...]:
        try:
            return tuple(self._variants[label] for label in self._meant[within(text, part)])
        except KeyError:
            raise Otherwise from None

    def names_part(self, line: From) -> bool:
        return bool(self.part_of(line.text) and self.candidates(line.text, line.part))

    def part_of(self, text: str) -> str:
        part, slash, _ = text.partition("/")
        return part if slash and part in self._parts else ""

    def misspelled(self, text: str, part: str = "") -> str | None:
        raise Otherwise


def replanned(
    loaded: LoadedModels,
    edited: Sequence[str],
    kept: Divided,
    owners: Owners,
    root: str,
    observed: Observed,
    elsewhere: Elsewhere,
) -> dict[str, Part]:
    """The parts of the `edited` models as they are now. Raises Otherwise.

    loaded  these models and all that they are based on, directly or not
    kept    the parts of all of these, as they were planned before
    """
    planner = Planner(_Known(loaded, kept.parts), loaded.variants, root, observed, elsewhere)
    rows: dict[str, list[Variant]] = {model: [] for model in edited}
    said: dict[str, list[Error]] = {}
    made = []
    order = {
        output.label: number
        for part in kept.parts.values()
        for number, output in zip(part.order, part.outputs, strict=True)
    }
    for variant in sorted(loaded.variants, key=lambda each: order.get(each.label, -1)):
        if variant.model not in rows:
            continue
        if variant.label not in order:
            raise Otherwise
        rows[variant.model].append(variant)
        before = planner.count()
        try:
            made.append(planner.output(variant))
        except (Error, Errors):
            raise Otherwise from None
        said[variant.model] = [*said.get(variant.model, ()), *planner.warned_since(before)]
    if planner.outside:
        raise Otherwise
    own, asks = _divided(planner, rows, kept, owners)
    named = _named(planner, own, kept)
    steps = _placed(planner, own, named, kept)
    # What other models read of theirs is in their own parts.
    others = {file for part in kept.parts.values() for file in (*part.files, *part.found.values())}
    outputs = {output.label: output_renamed(output, named) for output in made}
    found = {}
    for model, variants in rows.items():
        before_ = kept.parts[model]
        part = dividing.of_model(variants, planner, asks.get(model, {}))._replace(
            order=before_.order,
            outputs=tuple(outputs[output.label] for output in before_.outputs),
            steps=steps.get(model, {}),
            found=before_.found,
            files=before_.files,
            parts=before_.parts,
            warnings=[*loaded.origins[model].warnings, *said[model]],
            prompts=_prompts(variants, planner),
            looks=[look for look in observed.looks() if look[1] not in others or look[1] in before_.files],
        )
        _check(before_, part, loaded.origins[model])
        found[model] = part
    return found


def _prompts(variants: Sequence[Variant], planner: Planner) -> list[tuple[str, Bare, bool]]:
    known = planner.prompts.by_label()
    return [(each.label, *known[each.label]) for each in variants if each.label in known]


def _divided(
    planner: Planner, rows: Mapping[str, Sequence[Variant]], kept: Divided, owners: Owners
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, list[str]]]]:
    """Of each edited model the keys of its own steps, with their digests; and what its variants ask for together with others."""
    digests = planner.declared.digests()
    own: dict[str, dict[str, str]] = {}
    asks: dict[str, dict[str, list[str]]] = {}
    for key, asked in planner.declared.asked.items():
        digest, models = digests[key], {each.model for each in asked.variants}
        if models.isdisjoint(rows):
            continue
        if digest in kept.shared:
            for label, model in {each.label: each.model for each in asked.variants if each.model in rows}.items():
                asks.setdefault(model, {}).setdefault(label, []).append(digest)
        elif len(models) == 1:
            own.setdefault(models.pop(), {})[key] = digest
        else:
            raise Otherwise
    known = owners([digest for keys in own.values() for digest in keys.values()])
    for model, keys in own.items():
        if any(set(known.get(digest, ())) - {model} for digest in keys.values()):
            raise Otherwise
    return own, asks


def _named(planner: Planner, own: Mapping[str, Mapping[str, str]], kept: Divided) -> dict[str, str]:
    """The names of all steps: those of the edited models as a whole plan would name them, the others as they are named."""
    declared, digests = planner.declared, planner.declared.digests()
    others = {digest: each.step.name for part in kept.parts.values() for digest, each in part.steps.items()}
    types = {key: kept.shared[digest].type for key, digest in digests.items() if digest in kept.shared}
    named: dict[str, str] = {}
    for key, digest in digests.items():
        if digest in kept.shared:
            named[key] = kept.shared[digest].step.name
        elif digest in others:
            named[key] = others[digest]
    for model, keys in own.items():
        # Else one of these may be wished for by a step of several models too.
        if any(each.owner.partition(":")[0] == model for each in kept.shared.values()):
            raise Otherwise
        named.update(names(declared.steps, declared.asked, keys, types))
    if len(named) != len(digests):
        raise Otherwise
    return named


def _placed(
    planner: Planner, own: Mapping[str, Mapping[str, str]], named: Mapping[str, str], kept: Divided
) -> dict[str, dict[str, Placed]]:
    """Each model's own steps, each after those that it needs."""
    orders = {each.step.name: each.order for each in kept.shared.values()}
    for part in kept.parts.values():
        orders.update((each.step.name, each.order) for each in part.steps.values())
    model_of = {key: model for model, keys in own.items() for key in keys}
    found: dict[str, dict[str, Placed]] = {}
    for key, step in planner.declared.steps.items():
        if (model := model_of.get(key)) is None:
            continue
        digest, step = own[model][key], renamed(step, named)
        known = kept.parts[model].steps.get(digest)
        after = max((orders[name] for name in step.needs), default=-1.0)
        order = known.order if known is not None and known.order > after else after + 1e-6
        orders[step.name] = order
        found.setdefault(model, {})[digest] = Placed(order, step)
    return found


def _check(before: Part, now: Part, origin: Origin) -> None:
    """Raise Otherwise where an edit reaches other models."""

    def asked(part: Part) -> dict[str, set[str]]:
        return {label: set(digests) for label, digests in part.shared.items()}

    def told(part: Part) -> set[str]:
        return {json.dumps(error.spelled()) for error in once(part.warnings)}

    if (asked(before), told(before)) != (asked(now), told(now)):
        raise Otherwise
    if {label: [*texts] for label, texts in before.froms.items()} != {
        label: [*texts] for label, texts in now.froms.items()
    }:
        raise Otherwise
    if [*before.bases] != [*now.bases] or before.found != origin.found or [*before.parts] != origin.parts:
        raise Otherwise
