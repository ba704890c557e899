"""Which steps of a graph are made, and which are due and why: one walk that runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Container

from modelbuild.engine.action import Action, ActionResult, differences
from modelbuild.engine.cache import Cache
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.engine.history import History
from modelbuild.engine.rebuilder import Rebuilder
from modelbuild.engine.sources import BUILD, Sources
from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

Reason = dict[str, str]
"""Why a step runs: a `field` of its action, what it was `before` and what it is `after`."""

FORCED = "--force asks for it"

_FORCED = {"field": "artifact", "before": "built", "after": FORCED}
_UNREAD = {"field": "weights", "before": "unknown", "after": "not read yet"}
_GONE = {"field": "artifact", "before": "built", "after": "no longer in the cache"}


class Records(NamedTuple):
    """What is known from earlier builds: results of actions, digests of files, and what each step was last."""

    cache: Cache
    sources: Sources
    history: History


class Standing(NamedTuple):
    """How a graph stands: by step name the action that it is now, as far as that can be known, and what was made of just this.

    unread  the sources whose digests were not taken
    """

    graph: Graph
    actions: dict[str, Action]
    results: dict[str, ActionResult]
    unread: Collection[Source]


def look_up(graph: Graph, records: Records, unread: Collection[Source] = ()) -> Standing:
    """See which steps a build would find made. Sources whose digests are not known are read, but for the `unread` ones.

    Raises Error for one that cannot be read.
    """
    records.sources.prepare(graph.sources())
    rebuilder = Rebuilder(records.cache, records.sources.digest, unread)
    for wave in graph.waves():
        rebuilder.look_up(wave)
    return Standing(graph, rebuilder.actions, rebuilder.results, unread)


def unmade(graph: Graph, records: Records, forced: Container[str] = ()) -> tuple[set[str], dict[Source, Error]]:
    """The steps that read weights and were never run on them as they are, and all that need those; and what cannot be read.

    Weights that were never read are not read for this: a step that reads them is one of these.
    """
    readers = [step.name for step in graph.steps.values() if any(source.is_weights for source in step.sources)]
    part = graph.up_to(readers)
    large = records.sources.beyond(BUILD, part.sources())
    wrong = records.sources.read(part.sources(), but=large)
    made = look_up(part, records, {*large, *wrong}).results
    found = {name for name in readers if name in forced or name not in made}
    for step in graph.steps.values():
        if not found.isdisjoint(step.needs):
            found.add(step.name)
    return found, wrong


class Due(NamedTuple):
    """A step that a build would run: surely, or only if what it needs comes out otherwise than before; and why."""

    step: Step
    sure: bool
    because: list[Reason]


def due(standing: Standing, records: Records, forced: Container[str] = ()) -> list[Due]:
    """The steps that a build would run, in order; the `forced` ones whatever is made."""
    graph, results, last = standing.graph, standing.results, records.history.last
    found: dict[str, Due] = {}
    for step in graph.steps.values():
        if any(source in standing.unread for source in step.sources):
            found[step.name] = Due(step, True, [_UNREAD])
        elif step.name not in standing.actions:
            before = last(step.name)
            because = [_FORCED] if step.name in forced else _awaited(step, results, before)
            # What was never built must be made.
            found[step.name] = Due(step, step.name in forced or before is None, because)
        elif step.name in forced or step.name not in results:
            because = reasons(step, last(step.name), standing.actions[step.name], forced)
            found[step.name] = Due(step, True, because)
    # What comes from elsewhere is not made, and needs nothing.
    offered = {
        name
        for name, each in found.items()
        if each.step.pool and name not in forced and name in standing.actions
        if records.cache.offer(standing.actions[name].digest) is not None
    }
    for step in reversed(graph.steps.values()):
        for name in step.needs if step.name in found and step.name not in offered else ():
            if name not in found and not records.cache.has(results[name]):
                found[name] = Due(graph.steps[name], found[step.name].sure, [_GONE])
    return [found[name] for name in graph.steps if name in found]


def _awaited(step: Step, results: Container[str], before: Action | None) -> list[Reason]:
    """The inputs of a step that other steps are yet to make."""
    old = dict(before.inputs) if before else {}
    return [
        {"field": f"input '{role}' ({ref})", "before": old.get(role, "none"), "after": "to be made"}
        for role, ref in step.inputs
        if isinstance(ref, str) and ref not in results
    ]


def reasons(step: Step, before: Action | None, now: Action, forced: Container[str] = ()) -> list[Reason]:
    """Why a step runs: how it differs from the last build's action, field by field; an input with the file or step it is."""
    if before is None:
        return [{"field": "step", "before": "never built", "after": "new"}]
    changed = differences(before, now)
    if not changed:
        return [_FORCED if step.name in forced else _GONE]
    inputs = {f"input '{role}'": ref.path if isinstance(ref, Source) else ref for role, ref in step.inputs}
    return [
        {"field": f"{field} ({inputs[field]})" if field in inputs else field, "before": old, "after": new}
        for field, old, new in changed
    ]


def changed(standing: Standing, records: Records) -> dict[str, list[Reason]]:
    """By name, how steps differ from the last build's, whether they are due or were made before."""
    last = records.history.all(standing.actions)
    others = {
        name: now for name, now in standing.actions.items() if name not in last or last[name].digest != now.digest
    }
    # An output whose step only has another name is as it was.
    new = {
        output.manifest
        for output in standing.graph.outputs
        if output.manifest in others and output.manifest not in last
    }
    same = records.history.knows(others[name].digest for name in new)
    steps = standing.graph.steps
    return {
        name: reasons(steps[name], last.get(name), now)
        for name, now in others.items()
        if not (name in new and now.digest in same)
    }


def changed_before(standing: Standing, records: Records) -> tuple[float, dict[str, list[Reason]]]:
    """When a step of the graph changed last, and by name, how the steps that changed then differ from what they were.

    0 and nothing where all of them are as they were first built, and for steps that are others than in the last build.
    """
    history = records.history
    last = {
        name: each
        for name, each in history.all(standing.actions).items()
        if each.digest == standing.actions[name].digest
    }
    earlier = history.earlier(last)
    at = max((each.at for each in earlier.values()), default=0.0)
    steps = standing.graph.steps
    return at, {name: reasons(steps[name], each.action, last[name]) for name, each in earlier.items() if each.at == at}
