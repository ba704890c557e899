"""A sample of what the cache holds is made once more, beside it, and compared: steps must make the same bytes of the same inputs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence

from modelbuild import interrupt
from modelbuild.engine.action import Action, ActionResult
from modelbuild.engine.build import Event
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Graph, Step
from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error, Stopped
from modelbuild.session.session import Session
from modelbuild.session.settings import memory_limit
from modelbuild.session.worker import Worker
from modelbuild.tuples import NamedTuple


class Remade(NamedTuple):
    """A step that was run once more, what it made before and now, and the variants that it is for."""

    step: str
    before: ActionResult
    now: ActionResult
    targets: Sequence[str]


def remake(session: Session, count: int, jobs: int, report: Callable[[Event], None]) -> list[Remade]:
    """Run up to `count` steps whose results are known, without a look at anything that was made before. Raises Error."""
    import random

    standing = session.standing(session.graph)
    targets = session.graph.targets()
    away = _of_away(session.graph)
    known = [name for name in standing.results if name in standing.actions and name not in away]
    steps = [session.graph.steps[name] for name in known]
    found: list[Remade] = []
    random.shuffle(steps)
    for step in steps:
        if len(found) == count:
            break
        again = _Again(session, standing.actions[step.name], step, jobs, report)
        with tempfile.TemporaryDirectory(prefix=".remade-", dir=session.store.root) as folder:
            result = again.run(folder, [standing.results[name] for name in step.needs])
        if result is not None:
            found.append(Remade(step.name, standing.results[step.name], result, targets[step.name]))
    return found


def _of_away(graph: Graph) -> set[str]:
    """The steps that are made from weights that are not here, as far as they may read them."""
    found: set[str] = set()
    for step in graph.steps.values():
        if any(source.is_away() for source in step.sources) or not found.isdisjoint(step.needs):
            found.add(step.name)
    return found


class _Again(NamedTuple):
    """A step that is run in a store of its own."""

    session: Session
    action: Action
    step: Step
    jobs: int
    report: Callable[[Event], None]

    def run(self, folder: str, inputs: Sequence[ActionResult]) -> ActionResult | None:
        """What it makes; None where an input is no longer in the cache, or Ctrl-C ends it."""
        session = self.session
        with contextlib.closing(Store(folder)) as store:
            for each in inputs:
                # Read where they lie: a link would change the times of a blob that is believed by them.
                if (path := session.store.path(each.artifact)) is None:
                    return None
                store.note_location(each.artifact, path)
            worker = Worker(
                LocalCache(store),
                session.sources,
                jobs=self.jobs,
                memory=memory_limit(session.settings),
                scratch=lambda: None,
                report=self.report,
                force=True,
            )
            with interrupt.deferred(worker.stop.set), contextlib.suppress(Stopped, Damaged):
                try:
                    return worker.run(self.action, self.step).result
                except Error as error:
                    facts = [("file", error.place), *error.facts] if error.place else error.facts
                    what = f"step '{self.step.name}' failed: {error.what}"
                    raise Error(what, facts=facts, hint=error.hint) from error
                finally:
                    worker.close()
            return None
