"""One build: look up, run what is missing, publish what is finished. Knows steps, digests and blobs, and no models."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelbuild import interrupt, trace
from modelbuild.engine.action import Action, ActionResult, Made
from modelbuild.engine.batch import Batch
from modelbuild.engine.graph import Graph, Output, Source, Step
from modelbuild.engine.model_side import ModelSide, Publish
from modelbuild.engine.rebuilder import Rebuilder
from modelbuild.engine.scheduler import Calls, Finish, Scheduler
from modelbuild.engine.standing import Records, reasons, unmade
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

Event = dict[str, Any]
"""What a build tells as it goes: `event` names the kind, the rest is JSON-able."""

LARGE = 64 << 20
"""Bytes of sources to be read from which on a build says so."""

SETTLED = 0.05
"""Seconds that somebody else's removal takes at most from its look at the manifests to the last blob that it deletes."""

ROUNDS = 100
"""Looks at the outputs at the end of a build while somebody else goes on removing what they name."""


class Untrue(Exception):
    """A step made something else than was recorded of it: the records cannot be trusted."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.what)
        self.error = error


class BuildOptions(NamedTuple):
    """How to build: steps at once, whether to go on after a failure, to run what is made already, to tell why steps run, and the URL
    of a cluster that runs what takes long."""

    jobs: int = 1
    keep_going: bool = False
    force: bool = False
    explain: bool = False
    executor: str | None = None


class Build:
    """Builds the outputs of a graph; `report` hears every event."""

    def __init__(
        self,
        graph: Graph,
        records: Records,
        models: ModelSide,
        report: Callable[[Event], None],
        options: BuildOptions,
    ) -> None:
        self._graph = graph
        self._records = records
        self._cache = records.cache
        self._models = models
        self._placed = models.placed
        self._report = report
        self._options = options
        self._forced = graph.steps if options.force else {}
        self._unread: dict[Source, Error] = {}
        self._rebuilder = Rebuilder(records.cache, records.sources.digest, self._unread, self._forced)
        self._targets = graph.targets()
        self._awaited = {output: {output.manifest, *output.made} for output in graph.outputs}
        self._outputs_of: dict[str, list[Output]] = {}
        for output, steps in self._awaited.items():
            for name in steps:
                self._outputs_of.setdefault(name, []).append(output)
        self._counts = {"ran": 0, "hit": 0, "failed": 0, "skipped": 0}
        self._tensors = {"tensors_computed": 0, "tensors_reused": 0, "bytes_written": 0}
        self._costs: Mapping[str, float] = {}
        self._complete = Batch[Output, None]()
        self._unrecorded = Batch[str, Made]()
        self._mutex = threading.Lock()
        self._made_here: dict[str, ActionResult] = {}
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

    @property
    def written(self) -> int:
        """Bytes of what was made."""
        return self._tensors["bytes_written"]

    def run(self) -> bool:
        """Build everything; True when nothing failed. A failed step's error is in `errors` and in its event."""
        begun = time.perf_counter()
        try:
            graph = self._passed()
            self._hash_sources(graph)
            look_up = self._rebuilder.look_up
            calls = Calls(look_up, self._execute, self._started, self._finished, self._rest, self._models.abort)
            try:
                options, away = self._options, self._models.away
                Scheduler(graph, options.jobs, options.keep_going, calls, self._costs, away).run()
                self._settle()
            finally:
                with contextlib.suppress(Error):
                    self._record()
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
        with trace.span("look up what is made", "plan", steps=len(self._graph.steps)):
            running, unread = unmade(self._graph, self._records, self._forced)
        self._unread.update(unread)
        with trace.span("check before the build", "plan", steps=len(running)):
            faults = self._models.preflight(self._graph, running)
        self._costs = self._models.costs(self._graph, running)
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
        sources = self._records.sources
        sources.prepare(graph.sources())
        unread = sources.unhashed(graph.sources())
        large = sum(size for _, size in unread)
        if large > LARGE:
            self._report({"event": "hashing", "files": len(unread), "bytes": large})
        with trace.span("read new and changed sources", "io", files=len(unread), bytes=large):
            self._unread.update(sources.read(source for source, _ in unread))

    def _execute(self, step: Step, again: bool = False) -> tuple[ActionResult, bool]:
        for source in step.sources:
            if source in self._unread:
                raise self._unread[source]
        action = self._rebuilder.actions[step.name]
        if not step.pool and not again:
            with trace.span(step.name, "step", kind=step.kind, action=action.digest):
                return self._execute_quick(step, action)
        with trace.span(step.name, "step", kind=step.kind, action=action.digest), contextlib.ExitStack() as held:
            with trace.span("wait for other builds", "wait"):
                held.enter_context(self._cache.lock(action.digest))
            # Two builds at once: the other one may have made it while we waited for the lock.
            fresh = again or step.name in self._forced
            before = None if fresh else self._rebuilder.made_meanwhile(step)
            if before is None and step.name not in self._forced:
                before = self._cache.bring(action.digest)
            if before is not None:
                self._rebuilder.results[step.name] = before
                return before, False
            made = self._make(step, action)
            self._cache.record(action.digest, made)
        return self._has_run(step, made), True

    def _execute_quick(self, step: Step, action: Action) -> tuple[ActionResult, bool]:
        """Make the small artifact of a step in the scheduler's thread. No lock: another build may make the same bytes beside us."""
        if step.name not in self._forced and (known := self._made_here.get(action.digest)) is not None:
            self._rebuilder.results[step.name] = known
            return known, False
        made = self._make(step, action)
        self._made_here[action.digest] = made.result
        if self._unrecorded.add(action.digest, made):
            self._record()
        return self._has_run(step, made), True

    def _has_run(self, step: Step, made: Made) -> ActionResult:
        with self._mutex:
            self._rebuilder.results[step.name] = made.result
            self._ran.add(step.name)
            self._tensors["tensors_computed"] += made.computed
            self._tensors["tensors_reused"] += made.reused
            self._tensors["bytes_written"] += made.written
        return made.result

    def _record(self) -> None:
        """Record what quick steps have made since this was done last."""
        if made := self._unrecorded.take():
            self._cache.record_all(made)

    def _make(self, step: Step, action: Action) -> Made:
        while True:
            for name in step.needs:
                if not self._cache.fetch(self._rebuilder.results[name]):
                    self._remake(name)
            begun = time.perf_counter()
            try:
                made = self._models.work(action, step)
                return made if made.seconds else made._replace(seconds=time.perf_counter() - begun)
            except Damaged as damage:
                names = [name for name in step.needs if self._rebuilder.results[name].artifact == damage.artifact]
                if not names:
                    raise
                self._remake(names[0])
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                # What no step is foreseen to meet: it was given something else than what it asks for.
                if all(name in self._ran for name in step.needs):
                    raise
                what = f"step '{step.name}' cannot read the records of the steps before it"
                raise Untrue(Error(what, hint="build with --force")) from error

    def _remake(self, name: str) -> None:
        """Make once more an artifact that was dropped or damaged since it was recorded."""
        before = self._rebuilder.results[name]
        recorded = name not in self._ran
        step = self._graph.steps[name]
        self._report({"event": "start", "step": name, "kind": step.kind, "targets": self._targets[name]})
        begun = time.perf_counter()
        result, has_run = self._execute(step, again=True)
        if result != before:
            error = Error(
                f"step '{name}' made different bytes from the same inputs",
                facts=[("before", before.artifact), ("now", result.artifact)],
                hint="report this: steps must be deterministic",
            )
            raise Untrue(error) if recorded else error
        self._counts["ran"] += has_run
        state = "ran" if has_run else "hit"
        self._report(self._step_event(step, state, result, time.perf_counter() - begun))

    def _started(self, step: Step) -> None:
        event: Event = {"event": "start", "step": step.name, "kind": step.kind, "targets": self._targets[step.name]}
        if self._options.explain and (action := self._rebuilder.actions.get(step.name)) is not None:
            event["because"] = reasons(step, self._records.history.last(step.name), action, self._forced)
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
                if not self._awaited[output] and self._complete.add(output, None):
                    self._rest()

    def _rest(self) -> None:
        """Record and publish all that is finished."""
        self._record()
        if not (outputs := list(self._complete.take())):
            return
        results = self._rebuilder.results
        if len(outputs) > 1:
            self._models.together(
                [(each, results[each.manifest], [results[name] for name in each.made]) for each in outputs]
            )
        for output in outputs:
            interrupt.check()
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
            with trace.span(f"publish {output.label}", "publish", bytes=self._size(output)):
                changed = self._put(self._models.publish, output)
        except Error as error:
            self._unpublished(output, error)
            if not self._options.keep_going:
                raise
            self.errors.append(error)
            return
        if changed:
            self._changed.append(output)
        manifest = self.results[output.manifest].artifact
        for name in output.names:
            told = {"event": "variant", "name": name, "label": output.label, "manifest": manifest, "changed": changed}
            self._report(told)

    def _unpublished(self, output: Output, error: Error) -> None:
        names = list(output.names)
        self._report({"event": "unpublished", "label": output.label, "names": names, "error": str(error)})

    def _size(self, output: Output) -> int:
        return sum(self.results[name].size for name in (output.manifest, *output.made))

    def _put(self, publish: Publish, output: Output) -> bool:
        """Publish an output, or see that it stands; what turns out to be damaged or gone is made again."""
        results = self._rebuilder.results
        while True:
            try:
                return publish(output, results[output.manifest], [results[name] for name in output.made])
            except Damaged as damage:
                steps = [name for name in (output.manifest, *output.made) if results[name].artifact == damage.artifact]
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
            return self._put(self._models.restore, output)
        except Error as error:
            self._unpublished(output, error)
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
        facts = [*error.facts, *([("used by", shown)] if shown else [])]
        placed = self._placed(error, step)
        if error.parameter and not placed.parameter:
            return placed.replace(facts=facts)
        if error.place:
            facts = [("file", placed.place), *facts]
        # Behind a path, it may say what the file is.
        what = f"the file {error.what}" if error.place and error.what.startswith("is ") else error.what
        return Error(f"step '{step.name}' failed: {what}", facts=facts, hint=error.hint)

    def _remember(self) -> None:
        actions = self._rebuilder.actions
        self._records.history.remember({name: actions[name] for name in self._rebuilder.results if name in actions})


def _short_of(error: RuntimeError | MemoryError) -> Error | None:
    """What to do where the system gives no more of something; None for any other fault."""
    if isinstance(error, MemoryError):
        return Error("not enough memory", hint="close other programs, or lower --memory and --jobs")
    if "new thread" not in str(error):
        return None
    return Error(
        "the system cannot start more threads",
        hint="raise the limit of processes (`ulimit -u`, or the pids limit of the container), or lower --jobs",
    )
