"""Time what a cluster costs: of each action beyond its own work, and how a simulated cluster of many machines scales.

    python benchmarks/cluster.py overhead                     a scheduler and 4 workers on this machine, 400 variants of a tiny model
    python benchmarks/cluster.py simulate                     100 machines and 10,000 variants, by the rates below
    python benchmarks/cluster.py simulate --machines 10 --variants 1000 --seconds 30

The overhead is that of the whole path: a task is spelled and submitted, Dask hands it to a worker, the worker reads the recipe in the
shared folder, writes blob and record there, and the build takes the blob. It is the difference between a build with the cluster and one
without, by action, both with a shared folder; the models are so small that computing them takes next to nothing.

The simulation runs the real scheduler (`modelbuild.engine.scheduler`) over the real graph of a build, in virtual time: only what executes
a step is a model. Steps that do not travel take the time that they are given here, one core for all, as on the machine that builds.
"""

from __future__ import annotations

import argparse
import heapq
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

IDLE = 10
"""Seconds for which idle processes are watched."""

QUANTS = ("q4_K_M", "q5_K_M", "q6_K", "q8_0")


# The overhead


def project(root: Path, count: int, share: Path) -> None:
    """A project of so many variants of a tiny model; no two are the same, nor the same as those of a project in another folder."""
    from benchmarks import synthetic

    synthetic.checkpoint(root / "weights", layers=1, hidden=64, intermediate=64, vocabulary=300)
    lines = [f'[cache]\nremote = "file://{share}"']
    for number in range(count):
        lines.append(f'[model.m{number:05}]\nfrom = "./weights"\nquantize = "{QUANTS[number % 4]}"')
        lines.append(f'metadata = {{ "general.name" = "{root.name} {number}" }}')
    (root / "ModelBuild.toml").write_text("\n".join(lines) + "\n")


def overhead(count: int, workers: int, rounds: int) -> None:
    from modelbuild.cli.main import main
    from tests.e2e.machines import Machines

    found: dict[str, list[tuple[float, float]]] = {"cluster": [], "here": []}
    with tempfile.TemporaryDirectory() as name:
        machines = Machines(Path(name) / "machines", workers)
        pids = [os.getpid(), machines.scheduler.pid, *(each.pid for each in machines.workers.values())]
        try:
            # What scheduler and workers take of the processors while they wait is no action's.
            before = sum(map(busy, pids))
            time.sleep(IDLE)
            idle = (sum(map(busy, pids)) - before) / IDLE
            for number in range(rounds + 1):
                for side in found:
                    root = Path(name) / f"{side}{number}"
                    share = machines.share if side == "cluster" else root / "share"
                    share.mkdir(parents=True, exist_ok=True)
                    project(root, count, share)
                    words = [
                        "-C",
                        str(root),
                        "--cache",
                        str(root / "cache"),
                        "--models",
                        str(root / "models"),
                        "--quiet",
                    ]
                    begun, before = time.perf_counter(), sum(map(busy, pids))
                    code = main([*words, *(["--executor", machines.url] if side == "cluster" else [])])
                    took = time.perf_counter() - begun
                    found[side].append((took, sum(map(busy, pids)) - before - idle * took))
                    assert code == 0
        finally:
            machines.end()
    # The first round imports and warms up.
    for what, each in (("seconds", 0), ("seconds of processors", 1)):
        here, cluster = (statistics.median(run[each] for run in found[side][1:]) for side in ("here", "cluster"))
        print(
            f"{count} actions, {what}: {here:.2f} here, {cluster:.2f} by {workers} workers on the same cores: "
            f"{1000 * (cluster - here) / count:+.1f} ms an action"
        )


def busy(pid: int) -> float:
    """Seconds that a process has had of the processors: on a machine with other work, these say more than a clock does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The simulation


class Rates(NamedTuple):
    """What the simulation takes for granted.

    seconds   that a worker computes a layer
    overhead  that an action takes besides, as `overhead` measures it: Dask, records and small files
    size      bytes of a layer
    network   bytes a second of each machine's network, and of that which builds
    store     bytes a second that the shared cache takes and gives, all together
    local     seconds of a step that does not travel (recipes, configs, manifests), on the one core of the build
    """

    seconds: float = 60.0
    overhead: float = 0.015
    size: float = 4.7e9
    network: float = 1.25e9
    store: float = 12.5e9
    local: float = 0.004


class Clock:
    """Virtual time, and what happens at which moment of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, moment: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, call))

    def advance(self) -> None:
        """Let the next thing happen."""
        moment, _, call = heapq.heappop(self._events)
        self.now = max(self.now, moment)
        call()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return not self._events


class Pipe:
    """A resource that serves one byte after another: who comes waits for those before."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._free = 0.0
        self.busy = 0.0

    def take(self, size: float, begin: float) -> float:
        """When so many bytes are through that come at a moment."""
        seconds = size / self._rate
        self._free = max(self._free, begin) + seconds
        self.busy += seconds
        return self._free


class Machines:
    """The cluster as the scheduler sees it: an executor of steps that travel. Each machine computes one layer at a time."""

    def __init__(self, clock: Clock, count: int, rates: Rates, fetches: bool) -> None:
        self.places = max(32, min(1024, 4 * count))
        self.busy = 0.0
        self.told = 0
        """Layers that are there, and the scheduler has not closed yet."""
        self._clock = clock
        self._rates = rates
        self._fetches = fetches
        self._idle = count
        self._waiting: list[tuple[Any, Future[Any]]] = []
        self.store = Pipe(clock, rates.store)
        self.here = Pipe(clock, rates.network)

    def travels(self, step: Any) -> bool:
        from modelbuild.session.cluster.submitting import travels

        return travels(step)

    def submit(self, call: Callable[[Any], Any], step: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((step, future))
        self._begin()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass

    def _begin(self) -> None:
        while self._idle and self._waiting:
            self._idle -= 1
            _, future = self._waiting.pop(0)
            rates = self._rates
            computed = self._clock.now + rates.overhead + rates.seconds
            self.busy += rates.seconds
            self._clock.at(computed, lambda future=future: self._computed(future))  # type: ignore[misc]

    def _computed(self, future: Future[Any]) -> None:
        """The machine has two places: it begins the next layer while this one's bytes go to the shared cache."""
        self._idle += 1
        self._begin()
        rates = self._rates
        shared = self.store.take(rates.size, self._clock.now + rates.size / rates.network)
        done = self.here.take(rates.size, self.store.take(rates.size, shared)) if self._fetches else shared
        self._clock.at(done, lambda: self._tell(future))

    def _tell(self, future: Future[Any]) -> None:
        self.told += 1
        future.set_result((None, True, self._rates.seconds))


def graph_of(count: int, folder: Path) -> Any:
    """The graph of a project of so many variants, as it is planned."""
    from modelbuild.session.session import Session
    from modelbuild.session.settings import Settings

    project(folder, count, folder)
    session = Session(Settings(folder=str(folder), cache=str(folder / "cache"), models=str(folder / "models")))
    try:
        return session.graph
    finally:
        session.close()


def simulate(graph: Any, machines: int, rates: Rates, fetches: bool) -> None:
    from modelbuild.engine.action import ActionResult
    from modelbuild.engine.scheduler import Calls, Scheduler

    clock = Clock()
    cluster = Machines(clock, machines, rates, fetches)
    result = ActionResult("sha256:" + "0" * 64, 0)
    left = [len(graph.steps)]

    def local(step: Any) -> tuple[ActionResult, bool]:
        clock.now += rates.local
        return result, True

    def finished(finish: Any) -> None:
        left[0] -= 1
        cluster.told -= cluster.travels(finish.step)

    def rest() -> None:
        """Nothing is left to do until a layer is there: time goes on."""
        while not cluster.told and not clock.is_over:
            clock.advance()

    calls = Calls(lambda steps: {}, local, lambda step: None, finished, rest, lambda: None)
    costs = {step.name: rates.seconds if cluster.travels(step) else rates.local for step in graph.steps.values()}
    quick = [
        step._replace(pool="") if step.pool and not cluster.travels(step) else step for step in graph.steps.values()
    ]
    graph.steps.update({step.name: step for step in quick})
    begun = time.perf_counter()
    scheduler = Scheduler(graph, 1, False, calls, costs, cluster)
    scheduler.run()
    real = time.perf_counter() - begun
    assert left[0] == 0
    layers = sum(cluster.travels(step) for step in graph.steps.values())
    ideal = layers * rates.seconds / machines
    print(
        f"{machines:>5} machines  {layers:>6} layers  {clock.now:>9.0f} s  ideal {ideal:>7.0f} s  "
        f"busy {cluster.busy / machines / clock.now:>4.0%}  speed-up {layers * rates.seconds / clock.now:>6.1f}  "
        f"scheduler {1000 * real / len(graph.steps):.2f} ms a step"
    )


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["overhead", "simulate"])
    parser.add_argument("--variants", type=int)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--fetch", action="store_true", help="the build takes every model to its own models folder")
    for key, value in Rates._field_defaults.items():
        parser.add_argument(f"--{key}", type=float, default=value)
    asked = parser.parse_args()
    if asked.what == "overhead":
        overhead(asked.variants or 400, asked.workers, asked.rounds)
        return
    rates = Rates(*(getattr(asked, key) for key in Rates._fields))
    with tempfile.TemporaryDirectory() as name:
        graph = graph_of(asked.variants or 10_000, Path(name))
    for count in asked.machines:
        simulate(graph, count, rates, asked.fetch)


if __name__ == "__main__":
    run()
