"""Run the steps of a graph in topological order, as many at once as there are places for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from modelbuild import interrupt
from modelbuild.engine.action import ActionResult
from modelbuild.engine.executors.inline import Done, Inline
from modelbuild.engine.graph import Graph, Step

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

State = Literal["ran", "hit", "failed", "skipped"]


class Finish(NamedTuple):
    """How a step ended; `seconds` is its own time."""

    step: Step
    state: State
    result: ActionResult | None
    error: Exception | None
    seconds: float


LookUp = Callable[[list[Step]], dict[str, ActionResult]]
Execute = Callable[[Step], tuple[ActionResult, bool]]
"""Makes a step's artifact; the flag says whether it ran (another build may have made it meanwhile)."""


class Scheduler:
    """Walks a graph once.

    Quick steps run in the calling thread, the others in `jobs` threads; of those that use every core, one at a time.
    """

    def __init__(self, graph: Graph, jobs: int, keep_going: bool, abort: Callable[[], None]) -> None:
        self._graph = graph
        self._jobs = jobs
        self._keep_going = keep_going
        self._abort = abort
        self._inline = Inline()
        self._threads: ThreadPoolExecutor | None = None
        self._missing = {name: len(set(step.needs)) for name, step in graph.steps.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in graph.steps}
        for name, step in graph.steps.items():
            for need in set(step.needs):
                self._dependents[need].append(name)
        self._ready = [step for name, step in graph.steps.items() if not self._missing[name]]
        self._waiting: list[Step] = []
        self._running: dict[Future[tuple[ActionResult, bool, float]], Step] = {}
        self._stopped = False
        self._over: set[str] = set()

    def run(
        self, look_up: LookUp, execute: Execute, finished: Callable[[Finish], None], started: Callable[[Step], None]
    ) -> None:
        """Finish every step, or those that a failure leaves possible. The callbacks are called in this thread, `execute` in any."""

        def timed(step: Step) -> tuple[ActionResult, bool, float]:
            begun = time.perf_counter()
            result, ran = execute(step)
            return result, ran, time.perf_counter() - begun

        def close(
            step: Step, done: Done[tuple[ActionResult, bool, float]] | Future[tuple[ActionResult, bool, float]]
        ) -> None:
            try:
                result, ran, seconds = done.result()
            except Exception as error:
                self._fail(step, error, finished)
            else:
                finished(Finish(step, "ran" if ran else "hit", result, None, seconds))
                self._release(step)

        def start() -> None:
            for step in self._startable():
                if self._stopped:
                    break
                interrupt.check()
                started(step)
                if step.pool:
                    self._running[self._pool().submit(timed, step)] = step
                else:
                    close(step, self._inline.submit(timed, step))

        try:
            while self._ready or self._waiting or self._running:
                interrupt.check()
                while self._ready:
                    batch, self._ready = self._ready, []
                    known = look_up(batch)
                    for step in batch:
                        if step.name in known:
                            finished(Finish(step, "hit", known[step.name], None, 0.0))
                            self._release(step)
                        else:
                            self._waiting.append(step)
                start()
                if self._running and not self._ready:
                    over = [(self._running.pop(future), future) for future in self._first_done()]
                    interrupt.check()
                    if all(future.exception() is None for _, future in over):
                        # What waits for a place runs already while these are published, which takes the disk's time.
                        start()
                    for step, future in over:
                        close(step, future)
        except BaseException:
            # Steps under way are told to give up before they are waited for.
            self._abort()
            raise
        finally:
            if self._threads is not None:
                self._threads.shutdown(wait=True, cancel_futures=True)
        for name, step in self._graph.steps.items():
            if name not in self._over:
                finished(Finish(step, "skipped", None, None, 0.0))

    def _startable(self) -> Iterable[Step]:
        """Take out of the waiting what there is room for."""
        if self._stopped:
            self._waiting.clear()
            return []
        start, rest = [], []
        used = len(self._running)
        cores = any(step.pool == "cores" for step in self._running.values())
        for step in self._waiting:
            if step.pool and (used >= self._jobs or (step.pool == "cores" and cores)):
                rest.append(step)
                continue
            if step.pool:
                used += 1
                cores = cores or step.pool == "cores"
            start.append(step)
        self._waiting = rest
        # What runs in threads is started first, so that quick steps run beside it.
        return sorted(start, key=lambda step: not step.pool)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            from modelbuild.engine.executors import threads

            self._threads = threads.connect(self._jobs)
        return self._threads

    def _first_done(self) -> Iterable[Future[tuple[ActionResult, bool, float]]]:
        from concurrent.futures import FIRST_COMPLETED, wait

        return wait(self._running, return_when=FIRST_COMPLETED).done

    def _release(self, step: Step) -> None:
        self._over.add(step.name)
        for name in self._dependents[step.name]:
            self._missing[name] -= 1
            if not self._missing[name]:
                self._ready.append(self._graph.steps[name])

    def _fail(self, step: Step, error: Exception, finished: Callable[[Finish], None]) -> None:
        self._over.add(step.name)
        finished(Finish(step, "failed", None, error, 0.0))
        if not self._keep_going:
            self._stopped = True
            self._ready.clear()
