"""Run the steps of a graph in topological order, several at once."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from modelbuild import interrupt
from modelbuild.engine.action import ActionResult
from modelbuild.engine.executors.inline import Done, Inline
from modelbuild.engine.graph import Graph, Step
from modelbuild.errors import FellShort
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from queue import SimpleQueue

State = Literal["ran", "hit", "failed", "skipped"]

AWAY = "away"
"""The steps that wait for a place on another machine, beside those of the pools of this one."""


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


class Away(Protocol):
    """Runs steps that do not run here: a `concurrent.futures.Executor`, and what the scheduler must know of it."""

    @property
    def places(self) -> int:
        """How many steps it has at once, at most; who asks has one for it."""

    def travels(self, step: Step, /) -> bool:
        """Whether a step is run there."""

    def submit(self, call: Callable[[Step], _Timed], step: Step, /) -> Future[_Timed]:
        """Run a step there: the call waits for it."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Begin nothing more."""


class Scheduler:
    """Walks a graph once.

    Quick steps run in the calling thread, the others in `jobs` threads; of those that use every core, one at a time. Of the steps
    that wait for a place, the one is next behind which most is still to be done.

    costs  the seconds that steps may take, as far as known
    away   where steps run that do not run here
    """

    def __init__(
        self,
        graph: Graph,
        jobs: int,
        keep_going: bool,
        calls: Calls,
        costs: Mapping[str, float] | None = None,
        away: Away | None = None,
    ) -> None:
        self._graph = graph
        self._jobs = jobs
        self._keep_going = keep_going
        self._calls = calls
        self._away = away
        self._inline = Inline()
        self._threads: Executor | None = None
        self._missing = {name: len(set(step.needs)) for name, step in graph.steps.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in graph.steps}
        for name, step in graph.steps.items():
            for need in set(step.needs):
                self._dependents[need].append(name)
        self._ready = [step for name, step in graph.steps.items() if not self._missing[name]]
        self._paths = graph.longest(costs) if costs else {}
        self._quick: list[Step] = []
        self._queues: dict[str, list[tuple[float, int, Step]]] = {"thread": [], "cores": [], AWAY: []}
        self._queued = 0
        self._under_way: dict[Future[_Timed], Step] = {}
        self._taken = dict.fromkeys(self._queues, 0)
        self._done: SimpleQueue[Future[_Timed]] | None = None
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
            for executor in (self._threads, self._away):
                if executor is not None:
                    executor.shutdown(wait=True, cancel_futures=True)
        for name, step in self._graph.steps.items():
            if name not in self._over:
                self._calls.finished(Finish(step, "skipped", None, None, 0.0))

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
        heapq.heappush(self._queues[self._pool_of(step)], (-self._paths.get(step.name, 0.0), self._queued, step))

    def _pool_of(self, step: Step) -> str:
        return AWAY if self._away is not None and self._away.travels(step) else step.pool

    def _start(self) -> None:
        """Begin as many of the waiting steps as there is room for."""
        for step in self._startable():
            if self._stopped:
                break
            interrupt.check()
            self._calls.started(step)
            if step.pool:
                self._submit(step)
            else:
                self._close(step, self._inline.submit(self._timed, step))

    def _submit(self, step: Step) -> None:
        executor = self._away if self._away is not None and self._away.travels(step) else self._pool()
        future = executor.submit(self._timed, step)
        self._under_way[future] = step
        future.add_done_callback(self._ended().put)

    def _close_first(self) -> None:
        """Wait for a step in a place, and close those that are over."""
        over = [(self._under_way.pop(future), future) for future in self._first_done()]
        for step, _ in over:
            self._taken[self._pool_of(step)] -= 1
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
        while queues := [queue for pool, queue in self._queues.items() if queue and self._has_room(pool)]:
            _, _, step = heapq.heappop(min(queues, key=lambda queue: queue[0]))
            self._taken[self._pool_of(step)] += 1
            start.append(step)
        # What runs in threads is started first, so that quick steps run beside it.
        start += self._quick
        self._quick = []
        return start

    def _has_room(self, pool: str) -> bool:
        """Whether one more step of a pool can begin."""
        if pool == AWAY:
            return self._away is not None and self._taken[AWAY] < self._away.places
        here = self._taken["thread"] + self._taken["cores"]
        return here < self._jobs and not (pool == "cores" and self._taken["cores"])

    def _pool(self) -> Executor:
        if self._threads is None:
            from modelbuild.engine.executors import threads

            self._threads = threads.connect(self._jobs)
        return self._threads

    def _ended(self) -> SimpleQueue[Future[_Timed]]:
        """Where each future comes that is over. To wait for the first of many would cost each of them every time."""
        if self._done is None:
            from queue import SimpleQueue

            self._done = SimpleQueue()
        return self._done

    def _first_done(self) -> Iterable[Future[_Timed]]:
        first = self._ended().get()
        return [first, *(self._ended().get() for _ in range(self._ended().qsize()))]

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
