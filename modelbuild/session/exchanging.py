"""Results sent to a remote cache, and fetched from it, by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from modelbuild import interrupt
from modelbuild.engine.action import ActionResult, Made
from modelbuild.engine.build import Event
from modelbuild.engine.graph import Graph
from modelbuild.engine.sources import ALL, BUILD, Limit
from modelbuild.engine.standing import Standing, look_up
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.session.session import Session
from modelbuild.session.shared import Shared, connected, pin_weights
from modelbuild.sharing.cache import SharedCache
from modelbuild.sharing.line import Lost
from modelbuild.tuples import NamedTuple

Hear = Callable[[Event], None]


class Exchanged(NamedTuple):
    """What was exchanged, or would be: results that are there now, those that had to be moved and their bytes, and what is missing.

    missing  steps whose results neither side has, or that could not be moved
    """

    results: int
    moved: int
    bytes: int
    missing: Sequence[str]


def push(session: Session, graph: Graph, hear: Hear) -> Exchanged:
    """Send what is here of a graph's results, and is not there. Weights are read if their digests are not known."""
    with _Joined(session, "write", hear) as joined:
        if not joined.cache.writes:
            hint = "name the key that signs: [cache] sign = PATH; a record without a signature would be refused by all"
            raise Error("this project trusts signed results alone, and has no key to sign with", hint=hint)
        standing = joined.look_up(graph)
        moved, size, missing, count = 0, 0, [], 0
        for name, result in joined.results(standing).items():
            interrupt.check()
            count += 1
            action = standing.actions[name].digest
            if joined.cache.is_sent(action):
                continue
            note = session.store.notes.read(result.artifact)
            try:
                joined.cache.uploads.send(action, Made(result, note.tensors if note is not None else ()))
            except (Lost, Damaged, OSError, Error):
                missing.append(name)
                continue
            moved, size = moved + 1, size + result.size
        unmade = [name for name in graph.steps if joined.shares(name) and name not in standing.results]
        pin_weights(session, joined.shared, graph)
        return Exchanged(count, moved, size, [*missing, *unmade])


def pull(session: Session, graph: Graph, hear: Hear) -> Exchanged:
    """Fetch what is there of the results that a build of a graph needs, and is not here. Nothing is installed."""
    with _Joined(session, "read", hear) as joined:
        standing = joined.look_up(graph)
        moved, size, missing, count = 0, 0, [], 0
        for name, step in graph.steps.items():
            interrupt.check()
            if not joined.shares(name) or not step.final:
                continue
            result = standing.results.get(name)
            count += 1
            if result is not None and session.store.has(result):
                continue
            action = standing.actions.get(name)
            found = joined.cache.bring(action.digest) if action is not None else None
            if found is None:
                missing.append(name)
            else:
                moved, size = moved + 1, size + found.size
        return Exchanged(count, moved, size, missing)


class Stood(NamedTuple):
    """How the results of one model stand: those that are shared, those that are here, those that are there, and bytes to fetch.

    unread  those of which nobody can say, since weights that they are made of are not read yet
    """

    label: str
    results: int
    here: int
    there: int
    bytes: int
    unread: int = 0


def stat(session: Session, graph: Graph, hear: Hear) -> list[Stood]:
    """How the results of each model of a graph stand. No weights are read."""
    with _Joined(session, "read", hear) as joined:
        standing = joined.look_up(graph, BUILD)
        unread: set[str] = set()
        for step in graph.steps.values():
            if any(source in standing.unread for source in step.sources) or not unread.isdisjoint(step.needs):
                unread.add(step.name)
        found: dict[str, list[bool | int]] = {}
        for name, step in graph.steps.items():
            if joined.shares(name):
                action = standing.actions.get(name)
                result = standing.results.get(name)
                here = result is not None and (session.store.has(result) if step.final else True)
                there = action is not None and joined.cache.is_sent(action.digest)
                offer = joined.cache.offer(action.digest) if action is not None and there and not here else None
                large = offer.size if offer is not None and step.final else 0
                found[name] = [here, there, large, action is None and name in unread]
        stood = []
        for output in graph.outputs:
            own = [found[name] for name in graph.up_to((output.manifest, *output.made)).steps if name in found]
            totals = [sum(int(each[place]) for each in own) for place in range(4)]
            stood.append(Stood(output.label, len(own), *totals))
        return stood


class _Joined:
    """The remote cache of a session, joined for one direction whatever the project says of builds. Raises Error where there is none."""

    def __init__(self, session: Session, mode: str, hear: Hear) -> None:
        declared = session.remote_cache
        if not declared.url:
            raise Error("this project has no remote cache", hint='name one: [cache] remote = "https://host/path"')
        if session.settings.offline and not declared.url.startswith("file:"):
            raise Error("--offline is given", hint="leave it out to use the remote cache")
        self._session = session
        self._before = session.cache
        self._lost: list[Event] = []
        self._hear = hear
        self.shared: Shared = connected(session, declared._replace(mode=mode), self._tell)
        self._graph = Graph(())

    @property
    def cache(self) -> SharedCache:
        return self.shared.cache

    def _tell(self, event: Event) -> None:
        if event["event"] == "remote-lost":
            self._lost.append(event)
        else:
            self._hear(event)

    def __enter__(self) -> _Joined:
        self._deferred = interrupt.deferred(self.cache.stop)
        self._deferred.__enter__()
        self._session.use(self.cache)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.use(self._before)
        self.cache.close()
        self._deferred.__exit__(kind, error, trace)
        if self._lost and error is None:
            raise Error(self._lost[0]["error"].removeprefix("error: "))

    def look_up(self, graph: Graph, limit: Limit = ALL) -> Standing:
        """Which results are known of a graph. Sources that cannot be read are passed over, and those beyond the limit."""
        self._graph = graph
        large = self._session.sources.beyond(limit, graph.sources())
        wrong = self._session.sources.read(graph.sources(), but=large)
        return look_up(graph, self._session.records, {*large, *wrong})

    def shares(self, name: str) -> bool:
        return self.cache.shares(self._graph.steps[name]) if name in self._graph.steps else False

    def results(self, standing: Standing) -> dict[str, ActionResult]:
        """The results that are shared and whose artifacts are here."""
        found = {}
        for name, result in standing.results.items():
            with suppress(OSError):
                if self.shares(name) and self._session.store.has(result):
                    found[name] = result
        return found
