"""One build of a project: run what is due, publish it, tidy up, and note where nothing is left to do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from modelbuild import interrupt
from modelbuild.engine import garbage
from modelbuild.engine.action import ActionResult
from modelbuild.engine.build import Build, BuildOptions, Event, Untrue
from modelbuild.engine.graph import Graph, Output
from modelbuild.engine.log import Log, Recorder
from modelbuild.engine.model_side import ModelSide
from modelbuild.engine.parts import Parts
from modelbuild.engine.store import SMALL
from modelbuild.errors import Error
from modelbuild.files import TICK
from modelbuild.observed import unchanged
from modelbuild.plan import placed
from modelbuild.session import stamps
from modelbuild.session.destination import Destination, Everywhere, Files, Stats
from modelbuild.session.durations import Durations
from modelbuild.session.session import Selection, Session
from modelbuild.session.settings import cache_limit, memory_limit
from modelbuild.session.shared import joined, not_mutual, owed, pin_weights, send_made_before, warn_of_other_weights
from modelbuild.session.stamp import Told, again, take
from modelbuild.session.worker import Worker

if TYPE_CHECKING:
    from modelbuild.session.cluster.submitting import Submitting

MANY = 1000
"""Steps of a build that may take a moment more: without a stamp the next one has as much to look at."""

KEPT = "finished steps are cached, and finished tensors of unfinished layers"
"""What an interrupted build loses nothing of."""


def build(
    session: Session, selection: Selection, options: BuildOptions, report: Callable[[Event], None]
) -> list[Error]:
    """Build what was selected and publish it. Returns what went wrong; nothing is lost of what went well."""
    asked = [f"--{name.replace('_', '-')}" for name in ("force", "keep_going") if getattr(options, name)]
    recorder = Recorder(selection.targets, asked, report)
    errors: list[Error] = []
    interrupted = True
    try:
        errors = _build(session, selection, options, recorder)
        interrupted = False
    except Error as error:
        errors, interrupted = [error], False
        raise
    except KeyboardInterrupt as error:
        error.add_note(KEPT)
        raise
    finally:
        record = recorder.record([error.what for error in errors], interrupted=interrupted)
        if record is not None:
            with contextlib.suppress(Error):
                Log(session.store.database, session.file).add(record)
    return errors


def _build(
    session: Session, selection: Selection, options: BuildOptions, report: Callable[[Event], None]
) -> list[Error]:
    limit = cache_limit()
    destination: Destination
    if selection.exported is None:
        destination, outputs = Everywhere(session), selection.outputs
    else:
        from modelbuild.session import exports

        destination = Files(session, selection.exported, exports.asked(session, selection))
        outputs = [output._replace(names=()) for output in selection.outputs]
    destination.check(outputs)
    session.store.database.waiting = lambda path: report({"event": "waiting", "path": path})
    # An edit of Modelfiles declares the same names and files as before.
    if stale := selection.edit.stamp.told.event() if selection.edit else destination.stale():
        report({"event": "stale", **stale})
    graph = session.graph.select(outputs)
    building = _Building(session, graph, destination, report)
    is_sent = True
    with joined(session, building.hear_of_remote, destination.scratch) as shared:
        try:
            done = building.run(options)
        except Untrue as untrue:
            # The cache's records are wrong, as after a fault of its disk: believe none of them.
            if options.force:
                return [untrue.error]
            report({"event": "distrust", "path": session.store.root})
            done = building.run(options._replace(force=True))
        if shared is not None:
            send_made_before(session, shared, graph)
            with interrupt.deferred(shared.cache.stop):
                is_sent = not shared.cache.finish(interrupt.check).left
            # A lock that is ahead of the remote would promise what nobody finds; the next build sends it.
            if is_sent:
                pin_weights(session, shared, graph, done.results, whole=selection.edit is None)
        owes = owed(session, graph, shared if is_sent else None)
    warn_of_other_weights(session, graph, report)
    # Where something is left to tidy up, the next build must not take it that there is nothing to do.
    if building.tidied and not (done.errors or stale.get("files") or _is_passing(session, selection)):
        if session.patient or (len(graph.steps) > MANY and not selection.edit):
            # What was written within a tick of the clock cannot be stamped.
            time.sleep(TICK)
        with contextlib.suppress(Error):
            building.stamp(selection, done, stale.get("names", ()), owes)
    # A few texts do not fill a cache; the next build of more looks through it.
    if done.ran and not (selection.edit and done.written < SMALL):
        from modelbuild.session.interrupted import spares_of_all

        with contextlib.suppress(OSError, Error):
            garbage.evict(session.store, limit, spares_of_all(session.store, [session.models.root]))
    return done.errors


def _is_passing(session: Session, selection: Selection) -> bool:
    """Whether what is broken may be mended although no file changes: it could not be fetched, or another file was asked for."""
    return any(each.wanted or each.label in session.withheld or selection.into for each in selection.broken)


def _spread(
    session: Session, graph: Graph, options: BuildOptions, worker: Worker
) -> contextlib.AbstractContextManager[Submitting | None]:
    """Who has steps run by a cluster, if one is asked for. What is forced is made here: nobody else's result is taken for it."""
    if options.executor is None or options.force:
        return contextlib.nullcontext()
    if session.settings.offline:
        raise Error("--executor needs the network, and --offline is given", hint="leave out one of the two")
    from modelbuild.session.cluster.submitting import submitting

    if (error := not_mutual(session)) is not None:
        raise error
    return submitting(options.executor, graph, session.cache, session.sources, worker.run, worker.report)


class _Building:
    def __init__(
        self, session: Session, graph: Graph, destination: Destination, report: Callable[[Event], None]
    ) -> None:
        self.tidied = False
        self._has_read = False
        self._session = session
        self._graph = graph
        self._destination = destination
        self._durations = Durations(session.kept, session.file)
        self._sizes: Mapping[str, int] = {}
        self._tell = report

    def hear_of_remote(self, event: Event) -> None:
        """What the remote cache tells. That the new files are read once more, for their sha256, is no news."""
        if event["event"] != "hashing" or not self._has_read:
            self._tell(event)

    def _report(self, event: Event) -> None:
        self._has_read |= event["event"] == "hashing"
        self._durations.hear(event)
        self._tell(event)

    def run(self, options: BuildOptions) -> Build:
        """Run the steps that are due and put what they make where it goes, once."""
        destination = self._destination
        if options.force:
            destination.doubt()
        worker = Worker(
            self._session.cache,
            self._session.sources,
            jobs=options.jobs,
            memory=memory_limit(self._session.settings),
            scratch=destination.scratch,
            report=self._report,
            force=options.force,
        )
        worker.graph = self._graph
        with _spread(self._session, self._graph, options, worker) as away:
            return self._run(options, worker, away)

    def _run(self, options: BuildOptions, worker: Worker, away: Submitting | None) -> Build:
        destination, models = self._destination, self._session.models

        def stop() -> None:
            worker.stop.set()
            self._session.cache.stop()
            if away is not None:
                away.stop()

        def costs(graph: Graph, running: Collection[str]) -> Mapping[str, float]:
            found = self._durations.costs(graph, running, self._sizes)
            if away is not None:
                away.expect(found, self._sizes)
            return found

        side = ModelSide(
            work=away.work if away is not None else worker.run,
            publish=self._put,
            together=destination.together,
            restore=destination.restore,
            preflight=self._preflight,
            costs=costs,
            placed=placed.placed,
            abort=stop,
            away=away,
        )
        build = Build(self._graph, self._session.records, side, self._report, options)
        with interrupt.deferred(stop):
            try:
                build.run()
            finally:
                worker.close()
                with interrupt.put_off():
                    self.tidied = self._tidy()
                    self._durations.save()
                if models.replaced:
                    self._report({"event": "replaced", "blobs": models.replaced, "models": models.root})
                if models.taken:
                    self._report({"event": "taken", "names": models.taken, "models": models.root})
        return build

    def _tidy(self) -> bool:
        """Leave nothing behind. What goes wrong here takes no other error's place; returns whether all went well."""
        self._session.store.drop_unfinished()
        return self._destination.tidy()

    def _put(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        changed = self._destination.put(output, manifest, blobs)
        for event in self._destination.events(output, blobs):
            self._report(event)
        return changed

    def _preflight(self, graph: Graph, running: Collection[str]) -> Mapping[str, Sequence[Error]]:
        faults: dict[str, Sequence[Error]] = {}
        if running:
            from modelbuild.plan import preflight

            findings = preflight.refuse(graph, running, self._session.room(self._destination.folder))
            faults.update(findings.errors)
            self._sizes = findings.bytes
            made = [output for output in graph.outputs if output.manifest in running]
            for told in self._session.remarks(made):
                self._report({"event": "remark", "remark": told.error, "minor": told.minor})
            for warning in preflight.distinct(findings.warnings):
                self._report({"event": "remark", "remark": warning, "minor": False})
            self._report({"event": "expected", "bytes": findings.bytes})
            for path, architecture in findings.unjudged.items():
                self._report({"event": "unjudged", "path": path, "architecture": architecture})
        for output in graph.outputs:
            if found := self._destination.misplaced(output):
                faults[output.manifest] = [*faults.get(output.manifest, ()), *found]
        return faults

    def stamp(self, selection: Selection, build: Build, stale: Sequence[str] = (), owes: Sequence[str] = ()) -> None:
        """Keep a stamp of what is finished, under the words it was asked for with."""
        session, graph, results = self._session, self._graph, build.results
        outputs: dict[str, Stats] = {}
        known: Stats = {}
        for output in graph.outputs:
            found = self._destination.finished(
                output, results[output.manifest], [results[name] for name in output.made]
            )
            if found is None:
                return
            # Most have files in common.
            outputs[output.label] = {path: known.setdefault(path, info) for path, info in found.items()}
        sources = {source.path for source in graph.sources()}
        looks = session.looks()
        if not session.broken:
            stamps.forget_broken(session, selection.targets, selection.into)
        if selection.edit is not None and owes:
            return
        if selection.edit is not None:
            before, changes = selection.edit
            changed = again(before, changes, looks, sources, outputs)
            if changed is not None and self._is_current():
                before.change(Parts(session.store.database, before.key), *changed)
            return
        sources |= {session.models.library.manifest_path(name) for name in stale}
        told = Told(stale, session.models.root, [each.label for each in selection.broken], owes)
        stamp = take(len(graph.outputs), len(graph.steps), looks, sources, outputs, session.plan_id, told)
        if stamp is not None and self._is_current(stale):
            stamps.keep(session, stamp, selection.targets, selection.into)

    def _is_current(self, stale: Sequence[str] = ()) -> bool:
        """Whether plan, sources and stale names are still what this build saw: the stats of a stamp would hide an edit since."""
        if stale and self._destination.stale().get("names") != stale:
            return False
        sources, looks = self._graph.sources(), self._session.looks()
        fresh = self._session.new_sources()
        fresh.prepare(sources)
        fresh.prepare_paths(subject for verb, subject, _ in looks if verb == "read")
        with fresh.together():
            is_same = unchanged(looks, fresh.file_digest)
        if not is_same or fresh.unhashed(sources):
            return False
        return all(fresh.digest(source) == self._session.sources.digest(source) for source in sources)
