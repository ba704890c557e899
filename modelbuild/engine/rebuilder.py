"""Decide whether a step must run: constructive traces, keyed by the digest of the action."""

from __future__ import annotations

from collections.abc import Callable

from modelbuild.engine.action import Action, ActionResult
from modelbuild.engine.graph import Source, Step
from modelbuild.engine.store import Store


class Rebuilder:
    """Turns steps into actions as the digests of their inputs become known, and looks for what was made of them before."""

    def __init__(self, store: Store, source_digest: Callable[[Source], str]) -> None:
        self._store = store
        self._source_digest = source_digest
        self.results: dict[str, ActionResult] = {}
        """What each finished step made, in this build or before."""

    def action(self, step: Step) -> Action:
        """The action that a step is now; the steps it needs have results."""
        inputs = tuple(
            (role, self.results[ref].artifact if isinstance(ref, str) else self._source_digest(ref))
            for role, ref in step.inputs
        )
        return Action(step.kind, step.version, step.parameters, inputs)

    def known(self, steps: dict[Step, Action]) -> dict[str, ActionResult]:
        """Results of earlier runs, by step name; a final artifact that is no longer at hand doesn't count."""
        digests = {step.name: action.digest for step, action in steps.items()}
        found = self._store.results(digests.values())
        known = {}
        for step in steps:
            result = found.get(digests[step.name])
            if result and (not step.final or self._store.has(result)):
                known[step.name] = result
        return known
