"""Results sent to a remote cache, and fetched from it, by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from modelbuild.files import reason
from modelbuild.session.session import Session
from modelbuild.session.shared import Shared, connected, forbidden, pin_weights
from modelbuild.sharing.cache import SharedCache
from modelbuild.sharing.line import Lost
from modelbuild.tuples import NamedTuple

Hear = Callable[[Event], None]


_MODES = {"write": ("both", "write"), "read": ("both", "read"), "stat": ("both", "read", "write")}
"""The modes of the remote cache that allow each use."""

_COMMANDS = {"write": "push", "read": "pull", "stat": "stat"}


class Exchanged(NamedTuple):
    """What was exchanged: results that were looked at, those that had to be moved and their bytes, and what was not moved.

    missing  steps whose results are not where they are taken from
    failed   steps whose results could not be moved, or asked for
    error    why the first of these failed
    """

    results: int
    moved: int
    bytes: int
    missing: Sequence[str]
    failed: Sequence[str] = ()
    error: Error | None = None


def push(session: Session, graph: Graph, hear: Hear) -> Exchanged:
    """Send what is here of a graph's results, and is not there. Weights are read if their digests are not known."""
    with _Joined(session, "write", hear) as joined:
        if not joined.cache.writes:
            hint = "name the key that signs: [cache] sign = PATH; a record without a signature would be refused by all"
            raise Error("this project trusts only signed results, and this machine has no key to sign with", hint=hint)
        standing = joined.look_up(graph)
        moved, size, failed, count = 0, 0, [], 0
        wrong: Error | None = None
        for name, result in joined.results(standing).items():
            interrupt.check()
            count += 1
            action = standing.actions[name].digest
            if joined.cache.is_sent(action):
                continue
            note = session.store.notes.read(result.artifact)
            try:
                if not joined.cache.uploads.send(action, Made(result, note.tensors if note is not None else ())):
                    raise Error(f"the sources of '{name}' changed while they were read", hint="send it again")
            except (Lost, Damaged, OSError, Error) as error:
                failed.append(name)
                wrong = wrong or joined.fault(error)
                continue
            moved, size = moved + 1, size + result.size
        unmade = [name for name in graph.steps if joined.shares(name) and name not in standing.results]
        pin_weights(session, joined.shared, graph)
        return Exchanged(count, moved, size, unmade, failed, wrong)


def pull(session: Session, graph: Graph, hear: Hear) -> Exchanged:
    """Fetch what is there of the results that a build of a graph needs, and is not here. Nothing is installed."""
    with _Joined(session, "read", hear) as joined:
        standing = joined.look_up(graph)
        moved, size, count = 0, 0, 0
        missing: list[str] = []
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
        # After a fault nobody knows of what did not come whether it is there.
        error = joined.cache.line.first.get("read") if missing else None
        return Exchanged(count, moved, size, () if error else missing, missing if error else (), error)


class Stood(NamedTuple):
    """How the results of one model stand: those that are shared, those that are here, those that are there, and bytes to fetch.

    `there` and `bytes` are None where the remote did not answer.
    unread  those of which nobody can say, since weights that they are made of are not read yet
    """

    label: str
    results: int
    here: int
    there: int | None
    bytes: int | None
    unread: int = 0


def stat(session: Session, graph: Graph, hear: Hear) -> tuple[list[Stood], Error | None]:
    """How the results of each model of a graph stand, and the first fault of the remote. No weights are read."""
    with _Joined(session, "stat", hear) as joined:
        standing = joined.look_up(graph, BUILD)
        unread: set[str] = set()
        for step in graph.steps.values():
            if any(source in standing.unread for source in step.sources) or not unread.isdisjoint(step.needs):
                unread.add(step.name)
        found: dict[str, list[int | None]] = {}
        for name, step in graph.steps.items():
            if joined.shares(name):
                action = standing.actions.get(name)
                result = standing.results.get(name)
                here = result is not None and (session.store.has(result) if step.final else True)
                there = joined.cache.is_sent(action.digest) if action is not None else False
                offer = joined.cache.offer(action.digest) if action is not None and there and not here else None
                large = offer.size if offer is not None and step.final else 0
                found[name] = [here, there, None if there is None else large, action is None and name in unread]
        stood = []
        for output in graph.outputs:
            own = [found[name] for name in graph.up_to((output.manifest, *output.made)).steps if name in found]
            totals = [_total(each[place] for each in own) for place in range(4)]
            stood.append(Stood(output.label, len(own), totals[0] or 0, totals[1], totals[2], totals[3] or 0))
        return stood, joined.cache.line.first.get("read")


def _total(counts: Iterable[int | None]) -> int | None:
    """The sum; None where one is not known."""
    known = [*counts]
    return None if None in known else sum(each for each in known if each is not None)


class _Joined:
    """The remote cache of a session, joined for one use: read, write or stat. Raises Error where there is none, or it forbids that."""

    def __init__(self, session: Session, use: str, hear: Hear) -> None:
        declared = session.remote_cache
        if not declared.url:
            raise Error("this project has no remote cache", hint='name one: [cache] remote = "https://host/path"')
        if session.settings.offline and not declared.url.startswith("file:"):
            raise Error("--offline is given", hint="leave it out to use the remote cache")
        if declared.mode not in _MODES[use]:
            raise forbidden(session, f"`modelbuild cache {_COMMANDS[use]}`")
        mode = "read" if use == "stat" else use
        self._session = session
        self._before = session.cache
        self._hear = hear
        self.shared: Shared = connected(session, declared._replace(mode=mode), self._tell)
        self._graph = Graph(())

    @property
    def cache(self) -> SharedCache:
        return self.shared.cache

    def _tell(self, event: Event) -> None:
        # That it is given up is said by the fault for which it is.
        if event["event"] != "remote-lost":
            self._hear(event)

    def fault(self, error: Exception) -> Error:
        """Why a result could not be sent."""
        if isinstance(error, Lost):
            return self.cache.line.first.get("write") or Error(f"'{self.cache.line.remote.name}' cannot be used")
        if isinstance(error, Damaged):
            return Error(f"artifact {error.artifact} of the cache is damaged", hint="build again: that mends it")
        if isinstance(error, OSError):
            return Error(f"the cache cannot be read: {reason(error)}", path=self._session.store.root)
        assert isinstance(error, Error)
        return error

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
