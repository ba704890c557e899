"""What a worker does with a task: have its inputs at hand, run the action in a store of its own, and share what it made."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from modelbuild import remotes
from modelbuild.engine import garbage
from modelbuild.engine.action import Action, ActionResult, Made
from modelbuild.engine.build import Event
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Source, Step
from modelbuild.engine.sources import Sources
from modelbuild.engine.stat_cache import Hashed, StatCache
from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error
from modelbuild.machine import cores
from modelbuild.remotes import BLOBS
from modelbuild.session.cluster.task import Answer, Task, Weights
from modelbuild.session.leaves import digesters
from modelbuild.session.settings import Settings, cache_folder, cache_limit, memory_limit, started_in
from modelbuild.session.worker import Worker
from modelbuild.sharing.cache import SharedCache, Terms
from modelbuild.sharing.line import Lost
from modelbuild.sharing.record import SMALL
from modelbuild.sharing.signing import Signer, Trust
from modelbuild.tuples import NamedTuple

REMOTE, SIGN, TRUST = "MODELBUILD_REMOTE", "MODELBUILD_SIGN", "MODELBUILD_TRUST"
"""The variables for what no option names: the shared cache, the file of the key that signs, public keys with commas between."""

TRIES = 3
"""Times that an action is begun whose inputs turn out to be damaged."""

FULL = 16
"""Tasks after which the store is brought below its limit."""


class Means(NamedTuple):
    """What a worker has.

    cache   the folder of its store
    remote  the URL of the shared cache
    memory  bytes for tensors under way, of all tasks together
    jobs    threads that compute
    sign    the file of the key that signs what is shared
    trust   the public keys of those whose results are taken; none: everybody's
    """

    cache: str
    remote: str
    memory: int
    jobs: int
    sign: str | None = None
    trust: tuple[str, ...] = ()


def means(settings: Settings, remote: str | None, sign: str | None = None, trust: Sequence[str] = ()) -> Means:
    """What a worker has, by the options and the environment. Raises Error."""
    url = remote or os.environ.get(REMOTE)
    if not url:
        raise Error("a worker needs a shared cache", hint=f"name it with --remote URL, or in ${REMOTE}")
    key = sign or os.environ.get(SIGN)
    keys = trust or os.environ.get(TRUST, "").split(",")
    return Means(
        cache_folder(settings),
        url,
        memory_limit(settings),
        cores(),
        started_in(settings.folder, key) if key else None,
        tuple(each.strip() for each in keys if each.strip()),
    )


def tokens(means: Means) -> Mapping[str, float]:
    """What a worker says that it has: bytes of memory for tensors, and of its disk."""
    folder = means.cache
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return {"memory": float(means.memory), "disk": float(shutil.disk_usage(folder).free)}


class Told:
    """The keys of actions as their tasks say them, while they run."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Step, str]] = {}

    def learn(self, steps: Mapping[Step, Action]) -> None:
        """What steps are, a task says."""

    def tell(self, action: str, step: Step, key: str) -> None:
        self._known[action] = step, key

    def step(self, action: str) -> Step | None:
        return known[0] if (known := self._known.get(action)) else None

    def key(self, action: str) -> str | None:
        return known[1] if (known := self._known.get(action)) else None

    def contents(self, source: Source, digest: str) -> str | None:
        """A task says the keys themselves."""
        return None

    def weights(self, action: str) -> Mapping[str, Source]:
        """Only a build knows them in the way in which tensors are shared one by one."""
        return {}

    def recipe(self, action: str) -> str | None:
        return None


class Absent(Exception):
    """Something is neither here nor in the shared cache."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(*digests)
        self.digests = tuple(digests)


class Workshop:
    """Runs tasks with the means of one worker; used by several threads at once. `hear` is told what becomes of each."""

    def __init__(self, means: Means, hear: Callable[[str], None] = lambda line: None) -> None:
        self.remote = remotes.connect(means.remote)
        self.store = Store(means.cache)
        self._keys = Told()
        self._hear = hear
        self._fault = ""
        signer = Signer(means.sign) if means.sign else None
        terms = Terms(True, True, lambda step: True, signer, Trust(means.trust) if means.trust else None)
        self.cache = SharedCache(self.store, self.remote, self._keys, terms, lambda: None, self._heard)
        self._stats = StatCache(self.store.database)
        self._worker = Worker(
            self.cache,
            Sources(self._stats, digesters()),
            jobs=means.jobs,
            memory=means.memory,
            scratch=lambda: None,
            report=lambda event: None,
        )
        self._local = LocalCache(self.store)
        self._mutex = threading.Lock()
        self._done = 0

    def run(self, text: str) -> str:
        """Do a task; returns the answer. Raises nothing but what is a fault of ours."""
        try:
            task = Task.decode(text)
            # A worker outlives many faults of its shared cache.
            self.cache.line.hope()
            answer = self._answer(task)
            self._hear(f"{task.action.kind} {task.action.digest[7:19]}: {_became(answer)}")
        except Error as error:
            answer = Answer(error=error)
        return answer._replace(remote=self.remote.name, host=socket.gethostname()).encode()

    def close(self) -> None:
        """End all that is under way."""
        self._worker.close()
        self.cache.close()
        with contextlib.suppress(Error):
            self.store.drop_unfinished()
        self.store.close()

    def _answer(self, task: Task) -> Answer:
        try:
            return Answer(made=self._made(task))
        except Absent as absent:
            return Answer(missing=absent.digests)
        except Lost:
            return Answer(lost=self._fault or "it does not answer")
        except Error as error:
            return Answer(error=error)

    def _made(self, task: Task) -> Made:
        """What the action of a task made, here or elsewhere; it is in the shared cache when this returns."""
        action = task.action
        step = _step(action, task.key)
        self._keys.tell(action.digest, step, task.key)
        # Another build may have had it made since this one looked.
        offered = self.cache.offer(action.digest)
        if offered is not None and self._is_there(offered):
            return Made(offered)
        with self.cache.lock(action.digest):
            for left in reversed(range(TRIES)):
                made = self._known(action) or self._run(task, step)
                try:
                    # The shared cache may have dropped what was sent there before.
                    self.cache.uploads.doubt(made.result.artifact)
                    self.cache.uploads.send(action.digest, made)
                    break
                except Damaged as damaged:
                    # The disk lost what was made: it is made once more.
                    self.store.forget(damaged.artifact)
                    if not left:
                        raise Error(f"what was made was damaged {TRIES} times", path=self.store.root) from damaged
        self._tidy()
        return made

    def _known(self, action: Action) -> Made | None:
        """What an earlier task made here and could not share."""
        known = self._local.results([action.digest]).get(action.digest)
        if known is None or not self.store.has(known):
            return None
        note = self.store.notes.read(known.artifact)
        return Made(known, note.tensors if note is not None else ())

    def _run(self, task: Task, step: Step) -> Made:
        for left in reversed(range(TRIES)):
            self._have([*task.artifacts, *(each.table for each in task.weights)])
            self._learn(task)
            worker = self._worker.reading(self._sources(task))
            begun = time.perf_counter()
            try:
                made = worker.run(task.action, step)._replace(seconds=time.perf_counter() - begun)
            except Damaged as damaged:
                # It is forgotten, so that it is fetched once more.
                if not left or damaged.artifact not in {each.artifact for each in task.artifacts}:
                    raise Error(f"artifact {damaged.artifact} is damaged, and was fetched {TRIES} times") from damaged
                continue
            self._local.record(task.action.digest, made)
            return made
        raise AssertionError

    def _learn(self, task: Task) -> None:
        """Bring the part files of a task here, so that their tensors are found. What is not to be had is computed."""
        for part in task.parts:
            self._keys.tell(part.action.digest, _step(part.action, part.key), part.key)
            self.cache.ask_again(part.action.digest)
            self.cache.bring(part.action.digest)

    def _have(self, wanted: list[ActionResult]) -> None:
        """Bring to hand what is not. Raises Absent, with all that is nowhere, or Lost."""
        absent = [each.artifact for each in dict.fromkeys(wanted) if not self.cache.fetch(each)]
        if absent and not self.cache.line.serves("read"):
            raise Lost
        if absent:
            raise Absent(absent)

    def _sources(self, task: Task) -> Sources:
        """The weights of a task: in the files that it names, else as the shared cache has them. What is read of them is hashed."""
        sources = Sources(self._stats, digesters())
        self._have([each.file for each in task.weights if not _is_at(each)])
        for each in task.weights:
            path = each.path if _is_at(each) else self.store.path(each.file.artifact)
            if path is None:
                raise Absent([each.file.artifact])
            if self._stats.detail(each.digest) is None:
                table = self.store.read(each.table.artifact)
                self._stats.remember([Hashed(path, each.form, "", each.digest, table)])
            sources.believe(Source(path, each.form), each.digest)
        return sources

    def _is_there(self, result: ActionResult) -> bool:
        """Whether the shared cache has an artifact."""
        if result.size <= SMALL and self.store.has(result):
            return True  # it stands in its record
        return self.cache.line.size(BLOBS, result.artifact.removeprefix("sha256:"), "read") == result.size

    def _heard(self, event: Event) -> None:
        if event["event"] == "remote-lost":
            self._fault = str(event["error"])
            self._hear(self._fault)

    def _tidy(self) -> None:
        with self._mutex:
            self._done += 1
            if self._done % FULL:
                return
        with contextlib.suppress(OSError, Error):
            garbage.evict(self.store, cache_limit(), ())


def _step(action: Action, key: str) -> Step:
    """The step of an action, as far as it matters to a worker: what it is given is by digest."""
    return Step(f"{action.kind} {key[:12]}", action.kind, action.version, action.parameters, (), "cores")


def _is_at(weights: Weights) -> bool:
    """Whether the file of some weights can be read here under the path that it has on the machine of the build."""
    try:
        return os.path.isabs(weights.path) and os.stat(weights.path).st_size == weights.file.size
    except OSError:
        return False


def _became(answer: Answer) -> str:
    if answer.made is not None:
        return f"{answer.made.result.size:,} bytes, {answer.made.seconds:.1f} s"
    if answer.error is not None:
        return answer.error.what
    return answer.lost or f"needs {len(answer.missing)} more files"
