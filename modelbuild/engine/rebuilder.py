"""Decide whether a step must run: constructive traces, keyed by the digest of the action."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from modelbuild.engine.action import Action, ActionResult
from modelbuild.engine.cache import Cache
from modelbuild.engine.graph import Source, Step


class Rebuilder:
    """Turns steps into actions as the digests of their inputs become known, and looks for what was made of them before.

    unread  sources whose digests are not taken: a step that reads one has no action
    forced  names of the steps that are run whatever was made of them before
    """

    def __init__(
        self,
        cache: Cache,
        source_digest: Callable[[Source], str],
        unread: Container[Source] = (),
        forced: Container[str] = (),
    ) -> None:
        self._cache = cache
        self._source_digest = source_digest
        self._unread = unread
        self._forced = forced
        self.actions: dict[str, Action] = {}
        """What each step is now, as far as the digests of all its inputs are known."""
        self.results: dict[str, ActionResult] = {}
        """What each finished step made, in this build or before."""

    def look_up(self, steps: Iterable[Step]) -> dict[str, ActionResult]:
        """See what was made of steps before, by name. None may need another of them."""
        now = {step: self._action(step) for step in steps if self._is_known(step)}
        self.actions.update((step.name, action) for step, action in now.items())
        self._cache.expect(now)
        found = self._made({step: action for step, action in now.items() if step.name not in self._forced})
        self.results.update(found)
        return found

    def made_meanwhile(self, step: Step) -> ActionResult | None:
        """What another build has made of a step since it was looked up."""
        return self._made({step: self.actions[step.name]}).get(step.name)

    def _is_known(self, step: Step) -> bool:
        return all(ref in self.results if isinstance(ref, str) else ref not in self._unread for _, ref in step.inputs)

    def _action(self, step: Step) -> Action:
        inputs = tuple(
            (role, self.results[ref].artifact if isinstance(ref, str) else self._source_digest(ref))
            for role, ref in step.inputs
        )
        return Action(step.kind, step.version, step.parameters, inputs)

    def _made(self, steps: dict[Step, Action]) -> dict[str, ActionResult]:
        """Results by step name; a final artifact that is no longer at hand doesn't count."""
        results = self._cache.results(action.digest for action in steps.values())
        found = {step: results[action.digest] for step, action in steps.items() if action.digest in results}
        return {step.name: result for step, result in found.items() if not step.final or self._cache.has(result)}
