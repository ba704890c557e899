"""The side of a cluster that builds: what of a build travels, with what, and what is done with the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol, TypeVar

from modelbuild import steps
from modelbuild.engine.action import Action, ActionResult, Made
from modelbuild.engine.build import Event
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.executors.dask import Call, Workers
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.engine.sources import Sources, changed
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.session.cluster import groups
from modelbuild.session.cluster.task import Answer, Part, Task, Weights
from modelbuild.sharing.cache import SharedCache
from modelbuild.sharing.line import Lost

T = TypeVar("T")

MEMORY = 384 << 20
"""Bytes of memory that an action takes which computes tensors: of the usual 512 MiB some are left for one beside it."""

TRIES = 3
"""Times that an action is sent whose inputs the worker does not find."""


class Cluster(Protocol):
    """Runs calls elsewhere, as engine/executors/dask.py does."""

    address: str

    def workers(self) -> Workers: ...

    @property
    def places(self) -> int: ...

    def run(self, call: Call, /) -> str: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


@contextmanager
def submitting(
    url: str,
    graph: Graph,
    cache: LocalCache,
    sources: Sources,
    here: Callable[[Action, Step], Made],
    tell: Callable[[Event], None],
) -> Iterator[Submitting]:
    """Within, the cluster that `url` names runs steps of the graph. Raises Error where there can be none, or its scheduler is lost."""
    from modelbuild.engine.executors import dask

    dask.address_of(url)
    if not isinstance(cache, SharedCache) or not cache.is_mutual:
        raise needs_shared_cache()
    found = Submitting(lambda: dask.connect(url, _function), graph, cache, sources, here, tell)
    try:
        yield found
    except dask.SchedulerLost as lost:
        raise lost.error from None
    finally:
        found.close()


def _function() -> Callable[[str], str]:
    """What the workers of a Dask cluster run."""
    from modelbuild.session.cluster.dask_worker import run

    return run


class Submitting:
    """Has the workers of a cluster run the actions of a build that compute tensors.

    It is also what the scheduler gives these steps to: a thread waits for each answer. The cluster is reached when there is a first one.

    connect  reaches the cluster. Raises Error
    here     runs an action on this machine, where a worker cannot
    """

    def __init__(
        self,
        connect: Callable[[], Cluster],
        graph: Graph,
        cache: SharedCache,
        sources: Sources,
        here: Callable[[Action, Step], Made],
        tell: Callable[[Event], None],
    ) -> None:
        self._connect = connect
        self._graph = graph
        self._cache = cache
        self._sources = sources
        self._here = here
        self._tell = tell
        self._mutex = threading.Lock()
        self._lending = threading.Lock()
        self._reads: dict[str, frozenset[Source]] = {}
        self._weights: dict[Source, Weights | None] = {}
        self._given: set[str] = set()
        self._asking = 0
        self._paths: Mapping[str, float] = {}
        self._sizes: Mapping[str, int] = {}

    def expect(self, costs: Mapping[str, float], sizes: Mapping[str, int]) -> None:
        """Hear what is known of steps before they run, by name: their seconds, and the bytes of what they make."""
        self._paths, self._sizes = self._graph.longest(costs), sizes

    # As an executor

    def travels(self, step: Step) -> bool:
        return travels(step)

    @cached_property
    def _cluster(self) -> Cluster:
        cluster = self._connect()
        workers = cluster.workers()
        self._tell(
            {
                "event": "cluster",
                "scheduler": cluster.address,
                "workers": workers.number,
                "threads": workers.threads,
            }
        )
        return cluster

    @cached_property
    def places(self) -> int:
        return self._cluster.places

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.places, thread_name_prefix="away")

    def submit(self, call: Callable[[Step], T], step: Step) -> Future[T]:
        return self._threads.submit(call, step)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if "_threads" in vars(self):
            self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)

    def stop(self) -> None:
        """Have all that wait for answers give up. Safe in a handler of a signal."""
        if "_cluster" in vars(self):
            self._cluster.stop()

    def close(self) -> None:
        """Leave the cluster."""
        if "_cluster" in vars(self):
            self._cluster.close()

    def work(self, action: Action, step: Step) -> Made:
        """Make the artifact of an action, elsewhere if it travels. Raises what the engine's `work` raises, and the executor's Lost."""
        if travels(step):
            made = self._elsewhere(action, step)
            if made is not None:
                return made
        return self._here(action, step)

    def _elsewhere(self, action: Action, step: Step) -> Made | None:
        """What a worker has made of an action, brought here; None where that cannot be."""
        try:
            task = self._task(action, step)
            if task is None:
                return None
            parts, computed = self._parts(task, step)
            answer = self._answered(task._replace(parts=parts), step)
            made = self._brought(action, answer)
            return made._replace(computed=made.computed + computed) if made is not None else None
        except (Lost, OSError):
            # This side cannot reach the shared cache: what workers make could not come here.
            return None

    def _answered(self, task: Task, step: Step) -> Answer:
        """The answer of a worker that has run a task. Raises Error where it failed, and Lost."""
        with self._mutex:
            self._asking += 1
        try:
            for _ in range(TRIES):
                answer = Answer.decode(self._cluster.run(self._call(task, step)))
                if answer.error is not None:
                    raise answer.error
                if answer.lost:
                    raise _unreachable(answer)
                if answer.made is not None:
                    return answer
                self._give(task, answer.missing)
            raise self._another_cache(answer, "does not find there what the build has put into it")
        finally:
            with self._mutex:
                self._asking -= 1

    def _brought(self, action: Action, answer: Answer) -> Made | None:
        """What a worker made, with its artifact here; None where the shared cache no longer answers."""
        assert answer.made is not None
        self._cache.ask_again(action.digest)
        result = self._cache.bring(action.digest)
        if result is None:
            if not self._cache.line.serves("read"):
                return None
            raise self._another_cache(answer, "has put there what the build does not find or believe")
        if result != answer.made.result:
            raise Error(
                f"the shared cache has other bytes than the worker on {answer.host} made of the same inputs",
                facts=[("cache", result.artifact), ("worker", answer.made.result.artifact)],
                hint="report this: steps must be deterministic",
            )
        self._cache.came(action.digest)
        return answer.made

    def _parts(self, task: Task, step: Step) -> tuple[tuple[Part, ...], int]:
        """Have the groups of tensors of a large layer made by workers that have nothing else to do; and how many tensors were computed."""
        idle = self._cluster.workers().number - self._asking
        number = groups.count(self._sizes.get(step.name, 0), idle)
        if number == 1 or task.action.kind != "layer":
            return (), 0
        from modelbuild.tensors.recipe import Recipe

        asked = []
        for recipe in groups.divided(Recipe.decode(self._cache.store.read(task.artifacts[0].artifact)), number):
            spelled = self._cache.store.put(recipe.encode())
            self._give_once(spelled)
            part = groups.part_of(task.action, task.key, spelled.artifact)
            asked.append(Task(part.action, part.key, (spelled,), task.weights))
        with ThreadPoolExecutor(len(asked), thread_name_prefix="part") as threads:
            answers = list(threads.map(lambda each: self._answered(each, step), asked))
        computed = sum(answer.made.computed for answer in answers if answer.made is not None)
        return tuple(Part(each.action, each.key) for each in asked), computed

    def _another_cache(self, answer: Answer, what: str) -> Error:
        return Error(
            f"the worker on {answer.host} seems to have another shared cache: it {what}",
            facts=[("worker", answer.remote), ("build", self._cache.line.remote.name)],
            hint="workers and builds must name the same shared cache, and workers sign if the project trusts certain keys",
        )

    def _call(self, task: Task, step: Step) -> Call:
        needs = {"memory": MEMORY, "disk": self._sizes.get(step.name, 0)}
        path = round(self._paths.get(step.name, 0.0), 3)
        return Call(f"{task.action.kind}-{task.key}", task.encode(), needs, path)

    # What a task needs

    def _task(self, action: Action, step: Step) -> Task | None:
        """The task of an action, with what its worker needs in the shared cache; None where that cannot be. Raises Lost."""
        key = self._cache.keys.key(action.digest)
        if key is None or not self._cache.line.serves("write") or not self._cache.line.serves("read"):
            return None
        artifacts = []
        for (_, ref), (_, digest) in zip(step.inputs, action.inputs, strict=True):
            assert isinstance(ref, str)
            size = self._size(digest)
            if size is None:
                return None
            artifacts.append(ActionResult(digest, size))
        weights = [self._weights_of(source) for source in sorted(self._all_reads(step.name))]
        if any(each is None for each in weights):
            return None
        task = Task(action, key, tuple(artifacts), tuple(each for each in weights if each is not None))
        for each in (*artifacts, *(known.table for known in task.weights)):
            self._give_once(each)
        return task

    def _size(self, artifact: str) -> int | None:
        try:
            with self._cache.store.open(artifact) as file:
                return file.seek(0, 2)
        except Damaged:
            return None

    def _all_reads(self, name: str) -> frozenset[Source]:
        """The weights whose tensors a step may read: its own, and those of the recipes that it is made of."""
        if name not in self._reads:
            step = self._graph.steps[name]
            found = {source for source in step.sources if source.is_weights}
            for need in step.needs:
                # What goes into a models folder is whole, and leads to no weights.
                if not self._graph.steps[need].final:
                    found |= self._all_reads(need)
            self._reads[name] = frozenset(found)
        return self._reads[name]

    def _weights_of(self, source: Source) -> Weights | None:
        with self._mutex:
            if source not in self._weights:
                self._weights[source] = self._described(source)
            return self._weights[source]

    def _described(self, source: Source) -> Weights | None:
        """What a worker is told of weights; None of those that are not what they were, or not here."""
        if source.is_away():
            return None
        digest = self._sources.digest(source)
        sha256 = self._cache.keys.contents(source, digest)
        try:
            detail = self._sources.detail(digest)
            with open(source.path, "rb") as file:
                size = file.seek(0, 2)
        except OSError:
            return None
        if sha256 is None or detail is None:
            return None
        table = self._cache.store.put(detail)
        return Weights(digest, source.form, source.path, ActionResult(sha256, size), table)

    def _give(self, task: Task, missing: tuple[str, ...]) -> None:
        """Put what a worker does not find into the shared cache. Raises Lost."""
        files = {each.file.artifact: each for each in task.weights}
        for artifact in missing:
            if artifact in files:
                weights = files[artifact]
                try:
                    with self._lending:
                        self._cache.uploads.send_blob(weights.file, weights.path)
                except Damaged:
                    self._sources.forget(weights.path)
                    raise changed(weights.path) from None
        for each in (*task.artifacts, *(known.table for known in task.weights)):
            if each.artifact in missing:
                self._cache.uploads.doubt(each.artifact)
                self._cache.uploads.send_blob(each)

    def _give_once(self, result: ActionResult) -> None:
        if result.artifact not in self._given:
            self._cache.uploads.send_blob(result)
            self._given.add(result.artifact)


def needs_shared_cache() -> Error:
    """The error where a build names a cluster, and no cache that its workers could use."""
    return Error(
        "--executor needs a shared cache that is read and written",
        hint='name it in ModelBuild.toml: [cache] with remote = "file:///mnt/share", "https://…" or "s3://…"',
    )


def travels(step: Step) -> bool:
    """Whether a step is run elsewhere: one that computes tensors, of what other steps made. Programs of the user's own run here."""
    # What a tool made of weights is known by its bytes, and where they lie is known to this machine alone.
    is_own = not steps.is_foreign(step.kind) and all(role != "weights" for role, _ in step.inputs)
    return step.pool == "cores" and is_own and not any(step.sources)


def _unreachable(answer: Answer) -> Error:
    return Error(
        f"the worker on {answer.host} cannot use the shared cache",
        facts=[("cache", answer.remote), ("reason", answer.lost)],
        hint="give the worker a cache that it can read and write, with --remote",
    )
