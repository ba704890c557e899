"""One build: look up, run what is missing, publish what is finished. Knows steps, digests and blobs, and no models."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from modelbuild import interrupt
from modelbuild.engine.action import Action, ActionResult, differences
from modelbuild.engine.graph import Graph, Output, Source, Step
from modelbuild.engine.rebuilder import Rebuilder
from modelbuild.engine.scheduler import Finish, Scheduler
from modelbuild.engine.sources import Sources
from modelbuild.engine.store import Damaged, Range, Store
from modelbuild.errors import Error

Event = dict[str, Any]
"""What a build tells as it goes: `event` names the kind, the rest is JSON-able."""


class Made(NamedTuple):
    """What running an action gave."""

    result: ActionResult
    tensors: tuple[tuple[str, Range], ...] = ()
    computed: int = 0
    reused: int = 0
    written: int = 0


Work = Callable[[Action, Step], Made]
Publish = Callable[[Output, ActionResult, list[ActionResult]], bool]
"""Put an output's manifest and blobs where they are served, or see that they stand there; says whether anything changed."""

Preflight = Callable[[Graph, Collection[str]], Mapping[str, Sequence[Error]]]
"""Tell what is known to stand against the steps of a graph that are to run, by step."""

SMALL = 64 << 20
"""Bytes of a file that is read before anything is checked, to know whether it changed."""


SETTLED = 0.05
"""Seconds that somebody else's removal takes at most from its look at the manifests to the last blob that it deletes."""

ROUNDS = 100
"""Looks at the outputs at the end of a build while somebody else goes on removing what they name."""


class Untrue(Exception):
    """A step made something else than was recorded of it: the records cannot be trusted."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.what)
        self.error = error


class Options(NamedTuple):
    jobs: int = 1
    keep_going: bool = False
    force: bool = False
    explain: bool = False


class Build:
    """Builds the outputs of a graph; `report` hears every event."""

    def __init__(
        self,
        graph: Graph,
        *,
        store: Store,
        sources: Sources,
        project: str,
        work: Work,
        publish: Publish,
        report: Callable[[Event], None],
        options: Options,
        restore: Publish = lambda output, manifest, blobs: False,
        abort: Callable[[], None] = lambda: None,
        preflight: Preflight = lambda graph, running: {},
        placed: Callable[[Error, Step], Error] = lambda error, step: error,
    ) -> None:
        self._graph = graph
        self._store = store
        self._sources = sources
        self._project = project
        self._work = work
        self._publish = publish
        self._restore = restore
        self._report = report
        self._options = options
        self._abort = abort
        self._preflight = preflight
        self._placed = placed
        self._rebuilder = Rebuilder(store, sources.digest)
        self._actions: dict[str, Action] = {}
        self._unread: dict[Source, Error] = {}
        self._targets = graph.targets()
        self._awaited = {output: {output.manifest, *output.blobs} for output in graph.outputs}
        self._outputs_of: dict[str, list[Output]] = {}
        for output, steps in self._awaited.items():
            for name in steps:
                self._outputs_of.setdefault(name, []).append(output)
        self._counts = {"ran": 0, "hit": 0, "failed": 0, "skipped": 0}
        self._tensors = {"tensors_computed": 0, "tensors_reused": 0, "bytes_written": 0}
        self._mutex = threading.Lock()
        self._changed: list[Output] = []
        self._ran: set[str] = set()
        self.errors: list[Error] = []

    @property
    def results(self) -> dict[str, ActionResult]:
        """What each finished step made, by name."""
        return self._rebuilder.results

    @property
    def ran(self) -> bool:
        """Whether anything was made."""
        return bool(self._ran)

    def run(self) -> bool:
        """Build everything; True when nothing failed. A failed step's error is in `errors` and in its event."""
        begun = time.perf_counter()
        try:
            graph = self._passed()
            self._hash_sources(graph)
            scheduler = Scheduler(graph, self._options.jobs, self._options.keep_going, self._abort)
            try:
                scheduler.run(self._look_up, self._execute, self._finished, self._started)
                self._settle()
            finally:
                with contextlib.suppress(Error):
                    self._remember()
        except Error as error:
            self.errors.append(error)
        except (RuntimeError, MemoryError) as error:
            if (short := _short_of(error)) is None:
                raise
            self.errors.append(short)
        self._report(
            {"event": "summary", **self._counts, **self._tensors, "seconds": round(time.perf_counter() - begun, 4)}
        )
        return not self.errors

    def _passed(self) -> Graph:
        """The part of the graph that nothing stands against, as far as can be told before any work; the rest is over."""
        running = unmade(self._graph, self._rebuilder, self._sources, self._unread, force=self._options.force)
        faults = self._preflight(self._graph, running)
        if not faults:
            return self._graph
        refused = {label for name in faults for label in self._targets[name]}
        outputs = self._graph.outputs if self._options.keep_going else ()
        graph = self._graph.select(output for output in outputs if output.label not in refused)
        for name, step in self._graph.steps.items():
            if name not in graph.steps:
                self._refuse(step, faults.get(name, ()))
        return graph

    def _refuse(self, step: Step, errors: Sequence[Error]) -> None:
        """Tell of a step that is not started, and why if anything stands against it rather than against others."""
        state = "failed" if errors else "skipped"
        self._counts[state] += 1
        event = self._step_event(step, state, None, 0.0)
        if errors:
            event["error"] = "\n\n".join(map(str, errors))
            self.errors += [error for error in errors if not any(error is known for known in self.errors)]
        self._report(event)

    def _hash_sources(self, graph: Graph) -> None:
        sources = graph.sources()
        self._sources.prepare(sources)
        unread = self._sources.unhashed(sources)
        large = sum(size for _, size in unread)
        if large > 64 << 20:
            self._report({"event": "hashing", "files": len(unread), "bytes": large})
        for source, _ in unread:
            try:
                self._sources.digest(source)
            except Error as error:
                self._unread[source] = error

    def _look_up(self, steps: list[Step]) -> dict[str, ActionResult]:
        actions = {step: self._rebuilder.action(step) for step in steps if self._unread.keys().isdisjoint(step.sources)}
        self._actions.update((step.name, action) for step, action in actions.items())
        known = {} if self._options.force else self._rebuilder.known(actions)
        self._rebuilder.results.update(known)
        return known

    def _execute(self, step: Step, again: bool = False) -> tuple[ActionResult, bool]:
        for source in step.sources:
            if source in self._unread:
                raise self._unread[source]
        action = self._actions[step.name]
        with self._store.lock(action.digest):
            fresh = again or self._options.force
            # Two builds at once: the other one may have made it while we waited for the lock.
            made = None if fresh else self._rebuilder.known({step: action}).get(step.name)
            if made is not None:
                self._rebuilder.results[step.name] = made
                return made, False
            made_now = self._make(step, action)
            self._store.record(action.digest, made_now.result, made_now.tensors)
        with self._mutex:
            self._rebuilder.results[step.name] = made_now.result
            self._ran.add(step.name)
            self._tensors["tensors_computed"] += made_now.computed
            self._tensors["tensors_reused"] += made_now.reused
            self._tensors["bytes_written"] += made_now.written
        return made_now.result, True

    def _make(self, step: Step, action: Action) -> Made:
        while True:
            for name in step.needs:
                if self._store.path(self._rebuilder.results[name].artifact) is None:
                    self._remake(name)
            try:
                return self._work(action, step)
            except Damaged as damage:
                names = [name for name in step.needs if self._rebuilder.results[name].artifact == damage.artifact]
                if not names:
                    raise
                self._remake(names[0])
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                # What no step is foreseen to meet: it was given something else than what it asks for.
                if all(name in self._ran for name in step.needs):
                    raise
                what = f"step '{step.name}' cannot read what was recorded of the steps before it"
                raise Untrue(Error(what, hint="build with --force")) from error

    def _remake(self, name: str) -> None:
        """Make once more an artifact that was dropped or damaged since it was recorded."""
        before = self._rebuilder.results[name]
        recorded = name not in self._ran
        step = self._graph.steps[name]
        self._report({"event": "start", "step": name, "kind": step.kind, "targets": self._targets[name]})
        begun = time.perf_counter()
        result, _ = self._execute(step, again=True)
        if result != before:
            error = Error(
                f"step '{name}' made other bytes than before from the same inputs",
                facts=[("before", before.artifact), ("now", result.artifact)],
                hint="report this: steps must be deterministic",
            )
            raise Untrue(error) if recorded else error
        self._counts["ran"] += 1
        self._report(self._step_event(step, "ran", result, time.perf_counter() - begun))

    def _started(self, step: Step) -> None:
        event: Event = {"event": "start", "step": step.name, "kind": step.kind, "targets": self._targets[step.name]}
        if self._options.explain and step.name in self._actions:
            before = self._store.last(self._project, step.name)
            event["because"] = reasons(step, before, self._actions[step.name], self._options.force)
        self._report(event)

    def _finished(self, finish: Finish) -> None:
        step = finish.step
        self._counts[finish.state] += 1
        event = self._step_event(step, finish.state, finish.result, finish.seconds)
        if finish.error is not None:
            error = self._step_error(step, finish.error)
            self.errors.append(error)
            event["error"] = str(error)
        self._report(event)
        if finish.result is not None:
            for output in self._outputs_of.get(step.name, ()):
                self._awaited[output].discard(step.name)
                if not self._awaited[output]:
                    self._finish_output(output)

    def _step_event(self, step: Step, state: str, result: ActionResult | None, seconds: float) -> Event:
        return {
            "event": "step",
            "step": step.name,
            "kind": step.kind,
            "state": state,
            "seconds": round(seconds, 4),
            "digest": result.artifact if result else None,
            "targets": self._targets[step.name],
        }

    def _finish_output(self, output: Output) -> None:
        try:
            changed = self._put(self._publish, output)
        except Error as error:
            if not self._options.keep_going:
                raise
            self.errors.append(error)
            return
        if changed:
            self._changed.append(output)
        for name in output.names:
            self._report(
                {
                    "event": "variant",
                    "name": name,
                    "label": output.label,
                    "manifest": self.results[output.manifest].artifact,
                    "changed": changed,
                }
            )

    def _put(self, publish: Publish, output: Output) -> bool:
        """Publish an output, or see that it stands; what turns out to be damaged or gone is made again."""
        results = self._rebuilder.results
        while True:
            try:
                return publish(output, results[output.manifest], [results[name] for name in output.blobs])
            except Damaged as damage:
                steps = [name for name in (output.manifest, *output.blobs) if results[name].artifact == damage.artifact]
                if not steps:
                    raise
                self._remake(steps[0])

    def _settle(self) -> None:
        """Look once more at what was published: a server's removal takes no lock, and may take what our manifests name.

        Where something was gone a removal is under way: then look until nothing goes any more.
        """
        for _ in range(ROUNDS):
            gone = [output for output in list(self._changed) if self._restored(output)]
            if not gone:
                return
            interrupt.check()
            time.sleep(SETTLED)

    def _restored(self, output: Output) -> bool:
        try:
            return self._put(self._restore, output)
        except Error as error:
            self.errors.append(error)
            self._changed.remove(output)
            return False

    def _step_error(self, step: Step, error: Exception) -> Error:
        if not isinstance(error, Error):
            raise error
        needed = self._targets[step.name]
        shown = ", ".join(f"'{label}'" for label in needed[:4]) + (
            f" and {len(needed) - 4} more" if len(needed) > 4 else ""
        )
        facts = [*error.facts, *([("needed by", shown)] if shown else [])]
        placed = self._placed(error, step)
        if error.parameter and not placed.parameter:
            return placed.replace(facts=facts)
        if error.place:
            facts = [("file", placed.place), *facts]
        return Error(f"step '{step.name}' failed: {error.what}", facts=facts, hint=error.hint)

    def _remember(self) -> None:
        done = {name: self._actions[name] for name in self._rebuilder.results if name in self._actions}
        self._store.remember_last(self._project, done)


def _short_of(error: RuntimeError | MemoryError) -> Error | None:
    """What to do where the system gives no more of something; None for any other fault."""
    if isinstance(error, MemoryError):
        return Error("not enough memory", hint="close other programs, or lower --memory and --jobs")
    if "new thread" not in str(error):
        return None
    return Error(
        "the system starts no more threads",
        hint="raise the limit of processes (`ulimit -u`, or the pids limit of the container), or lower --jobs",
    )


_FORCED = {"field": "artifact", "before": "built", "after": "asked for with --force"}
_UNREAD = {"field": "weights", "before": "unknown", "after": "not read yet"}
_GONE = {"field": "artifact", "before": "built", "after": "no longer in the cache"}


def reasons(step: Step, before: Action | None, now: Action, forced: bool = False) -> list[dict[str, str]]:
    """Why a step runs: how it differs from the last build's action, field by field; an input with the file or step it is."""
    if before is None:
        return [{"field": "step", "before": "never built", "after": "new"}]
    changed = differences(before, now)
    if not changed:
        return [_FORCED if forced else _GONE]
    inputs = {f"input '{role}'": ref.path if isinstance(ref, Source) else ref for role, ref in step.inputs}
    return [
        {"field": f"{field} ({inputs[field]})" if field in inputs else field, "before": old, "after": new}
        for field, old, new in changed
    ]


def unmade(
    graph: Graph, rebuilder: Rebuilder, sources: Sources, unread: dict[Source, Error], *, force: bool = False
) -> set[str]:
    """The steps that read weights and were never run on them as they are, and all that need those.

    Weights that were never read are not read for this: a step that reads them is one of these. `unread` learns of small files
    that cannot be read.
    """
    readers = [step for step in graph.steps.values() if any(source.form != "bytes" for source in step.sources)]
    sources.prepare(graph.sources())
    new = set()
    for source, size in sources.unhashed({source for step in readers for source in step.sources}):
        if source.form != "bytes" or size > SMALL:
            new.add(source)
            continue
        try:
            sources.digest(source)
        except Error as error:
            unread[source] = error
            new.add(source)
    known = {step: rebuilder.action(step) for step in readers if new.isdisjoint(step.sources) and not any(step.needs)}
    made = {} if force else rebuilder.known(known)
    found = {step.name for step in readers if step.name not in made}
    for step in graph.steps.values():
        if not found.isdisjoint(step.needs):
            found.add(step.name)
    return found


class Due(NamedTuple):
    """A step that a build would run: surely, or only if what it needs comes out otherwise than before; and why."""

    step: Step
    sure: bool
    because: list[dict[str, str]]


def due(
    graph: Graph,
    store: Store,
    sources: Sources,
    project: str,
    force: bool = False,
    unread: Collection[Source] = (),
) -> list[Due]:
    """What a build would do. Sources whose digests are not known are read, as a build would, but for the `unread` ones."""
    sources.prepare(graph.sources())
    rebuilder = Rebuilder(store, sources.digest)
    found: dict[str, Due] = {}
    for step in graph.steps.values():
        if any(source in unread for source in step.sources):
            found[step.name] = Due(step, True, [_UNREAD])
            continue
        waiting = [(role, ref) for role, ref in step.inputs if isinstance(ref, str) and ref not in rebuilder.results]
        before = store.last(project, step.name)
        if waiting:
            old = dict(before.inputs) if before else {}
            because = [
                {"field": f"input '{role}' ({ref})", "before": old.get(role, "none"), "after": "to be made"}
                for role, ref in waiting
            ]
            found[step.name] = Due(step, force, [_FORCED] if force else because)
            continue
        action = rebuilder.action(step)
        known = rebuilder.known({step: action})
        rebuilder.results.update(known)
        if force or not known:
            found[step.name] = Due(step, True, reasons(step, before, action, force))
    for step in reversed(graph.steps.values()):
        for name in step.needs if step.name in found else ():
            if name not in found and store.path(rebuilder.results[name].artifact) is None:
                found[name] = Due(graph.steps[name], found[step.name].sure, [_GONE])
    return [found[name] for name in graph.steps if name in found]
