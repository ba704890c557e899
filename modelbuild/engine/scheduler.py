"""Run the steps of a graph in topological order, several at once."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from modelbuild import interrupt
from modelbuild.engine.action import ActionResult
from modelbuild.engine.executors.inline import Done, Inline
from modelbuild.engine.graph import Graph, Step
from modelbuild.errors import FellShort
from modelbuild.tuples import NamedTuple

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


class Calls(NamedTuple):
    """What a scheduler calls: `execute` in any thread, the others in its own.

    look_up   what was made of these steps before, by name
    execute   make a step's artifact; the flag says whether it ran (another build may have made it meanwhile)
    started   a step is about to be executed
    finished  a step is over
    rest      nothing is left to do until a step under way is over, or at all
    abort     the steps under way are to give up
    """

    look_up: Callable[[list[Step]], dict[str, ActionResult]]
    execute: Callable[[Step], tuple[ActionResult, bool]]
    started: Callable[[Step], None]
    finished: Callable[[Finish], None]
    rest: Callable[[], None]
    abort: Callable[[], None]


_Timed = tuple[ActionResult, bool, float]


class Scheduler:
    """Walks a graph once.

    Quick steps run in the calling thread, the others in `jobs` threads; of those that use every core, one at a time. Of the steps
    that wait for a thread, the one is next behind which most is still to be done.

    costs  the seconds that steps may take, as far as known
    """

    def __init__(
        self, graph: Graph, jobs: int, keep_going: bool, calls: Calls, costs: Mapping[str, float] | None = None
    ) -> None:
        self._graph = graph
        self._jobs = jobs
        self._keep_going = keep_going
        self._calls = calls
        self._inline = Inline()
        self._threads: ThreadPoolExecutor | None = None
        self._missing = {name: len(set(step.needs)) for name, step in graph.steps.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in graph.steps}
        for name, step in graph.steps.items():
            for need in set(step.needs):
                self._dependents[need].append(name)
        self._ready = [step for name, step in graph.steps.items() if not self._missing[name]]
        self._paths = self._longest(costs) if costs else {}
        self._quick: list[Step] = []
        self._queues: dict[str, list[tuple[float, int, Step]]] = {"thread": [], "cores": []}
        self._queued = 0
        self._under_way: dict[Future[_Timed], Step] = {}
        self._stopped = False
        self._over: set[str] = set()
        self._took: dict[str, float] = {}

    def run(self) -> None:
        """Finish every step, or those that a failure leaves possible."""
        try:
            while self._ready or self._is_waiting() or self._under_way:
                interrupt.check()
                while self._ready:
                    self._take_ready()
                self._start()
                if self._under_way and not self._ready:
                    self._calls.rest()
                    self._close_first()
            self._calls.rest()
        except BaseException:
            # Steps under way are told to give up before they are waited for.
            self._calls.abort()
            raise
        finally:
            if self._threads is not None:
                self._threads.shutdown(wait=True, cancel_futures=True)
        for name, step in self._graph.steps.items():
            if name not in self._over:
                self._calls.finished(Finish(step, "skipped", None, None, 0.0))

    def _longest(self, costs: Mapping[str, float]) -> dict[str, float]:
        """For each step, the seconds of the longest path of steps that begins with it."""
        paths: dict[str, float] = {}
        for name in reversed(self._graph.steps):
            paths[name] = costs.get(name, 0.0) + max((paths[after] for after in self._dependents[name]), default=0.0)
        return paths

    def _is_waiting(self) -> bool:
        return bool(self._quick) or any(self._queues.values())

    def _take_ready(self) -> None:
        """Look up the steps that need nothing any more; those that were not made before wait for a place."""
        batch, self._ready = self._ready, []
        known = self._calls.look_up(batch)
        for step in batch:
            if step.name in known:
                self._calls.finished(Finish(step, "hit", known[step.name], None, 0.0))
                self._release(step)
            else:
                self._wait_for_place(step)

    def _wait_for_place(self, step: Step) -> None:
        if not step.pool:
            self._quick.append(step)
            return
        self._queued += 1
        heapq.heappush(self._queues[step.pool], (-self._paths.get(step.name, 0.0), self._queued, step))

    def _start(self) -> None:
        """Begin as many of the waiting steps as there is room for."""
        for step in self._startable():
            if self._stopped:
                break
            interrupt.check()
            self._calls.started(step)
            if step.pool:
                self._under_way[self._pool().submit(self._timed, step)] = step
            else:
                self._close(step, self._inline.submit(self._timed, step))

    def _close_first(self) -> None:
        """Wait for a step in a thread, and close those that are over."""
        over = [(self._under_way.pop(future), future) for future in self._first_done()]
        interrupt.check()
        after = (name for step, _ in over for name in self._dependents[step.name])
        behind = max((self._paths.get(name, 0.0) for name in after), default=0.0)
        next_ = max((-queue[0][0] for queue in self._queues.values() if queue), default=0.0)
        if next_ >= behind and all(future.exception() is None for _, future in over):
            # What waits for a place runs already while these are published, which takes the disk's time.
            self._start()
        for step, future in over:
            self._close(step, future)

    def _timed(self, step: Step) -> _Timed:
        begun = time.perf_counter()
        try:
            result, ran = self._calls.execute(step)
        finally:
            self._took[step.name] = time.perf_counter() - begun
        return result, ran, self._took[step.name]

    def _close(self, step: Step, done: Done[_Timed] | Future[_Timed]) -> None:
        try:
            result, ran, seconds = done.result()
        except Exception as error:
            self._fail(step, error)
        else:
            self._calls.finished(Finish(step, "ran" if ran else "hit", result, None, seconds))
            self._release(step)

    def _startable(self) -> Iterable[Step]:
        """Take out of the waiting what there is room for."""
        start: list[Step] = []
        if self._stopped:
            self._quick.clear()
            for queue in self._queues.values():
                queue.clear()
            return start
        cores = any(step.pool == "cores" for step in self._under_way.values())
        while len(self._under_way) + len(start) < self._jobs:
            queues = [queue for pool, queue in self._queues.items() if queue and not (cores and pool == "cores")]
            if not queues:
                break
            _, _, step = heapq.heappop(min(queues, key=lambda queue: queue[0]))
            cores = cores or step.pool == "cores"
            start.append(step)
        # What runs in threads is started first, so that quick steps run beside it.
        start += self._quick
        self._quick = []
        return start

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            from modelbuild.engine.executors import threads

            self._threads = threads.connect(self._jobs)
        return self._threads

    def _first_done(self) -> Iterable[Future[_Timed]]:
        from concurrent.futures import FIRST_COMPLETED, wait

        return wait(self._under_way, return_when=FIRST_COMPLETED).done

    def _release(self, step: Step) -> None:
        self._over.add(step.name)
        for name in self._dependents[step.name]:
            self._missing[name] -= 1
            if not self._missing[name]:
                self._ready.append(self._graph.steps[name])

    def _fail(self, step: Step, error: Exception) -> None:
        self._over.add(step.name)
        self._calls.finished(Finish(step, "failed", None, error, self._took.get(step.name, 0.0)))
        if not self._keep_going and not isinstance(error, FellShort):
            self._stopped = True
            self._ready.clear()
