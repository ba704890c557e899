"""One run of the tool over one project: the store, the plan (kept from before where nothing changed), and builds of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from modelbuild import interrupt
from modelbuild.digest import canonical, sha256
from modelbuild.engine.build import Build, BuildOptions, Event, ModelSide, Untrue
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Graph, Output
from modelbuild.engine.history import History
from modelbuild.engine.kept import Kept
from modelbuild.engine.sources import LOOK, Sources
from modelbuild.engine.standing import Records, Standing, look_up, unmade
from modelbuild.engine.stat_cache import StatCache
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.files import Waiting
from modelbuild.observed import Look, Observed, unchanged
from modelbuild.plan import placed
from modelbuild.publish.models_folder import ModelsFolder, default_folder
from modelbuild.session.kept_plan import KeptPlan
from modelbuild.session.settings import Settings, cache_folder, cache_limit, default_memory, started_in
from modelbuild.session.stamp import Stamp, take
from modelbuild.session.worker import Worker, digesters

if TYPE_CHECKING:
    from modelbuild.project.project import Project
    from modelbuild.project.targets import Words


class Selection(NamedTuple):
    """Outputs, and the targets they were asked for with."""

    targets: tuple[str, ...]
    outputs: Sequence[Output]


class Session:
    """Finds the project and opens the store. Raises Error or Errors for what is wrong with either."""

    def __init__(self, settings: Settings, waiting: Waiting | None = None) -> None:
        self.settings = settings
        self.file = self._find()
        self.store = Store(cache_folder(settings), waiting)
        self.cache = LocalCache(self.store)
        self.sources = self._sources()
        self.history = History(self.store.database, self.file)
        self.kept = Kept(self.store.database)
        self._project: Project | None = None
        self._tidied = False
        self._observed = Observed()

    def _sources(self) -> Sources:
        return Sources(StatCache(self.store.database), digesters())

    def _find(self) -> str:
        folder = os.path.realpath(self.settings.folder)
        if not os.path.isdir(folder):
            raise Error("no such folder", path=self.settings.folder)
        if self.settings.file is not None:
            place, name = os.path.split(os.path.join(folder, self.settings.file))
            file = os.path.join(os.path.realpath(place), name)
            if not os.path.isfile(file):
                what = "is a folder" if os.path.isdir(file) else "no such file"
                raise Error(what, path=self.settings.file, hint="-f takes a ModelBuild.toml or a Modelfile")
            return file
        from modelbuild.project.discovery import find

        found = find(folder)
        if found is None:
            raise Error(
                "no ModelBuild.toml here or above, and no Modelfile here",
                facts=[("looked in", folder)],
                hint="`modelbuild init` writes one for the Modelfiles and weights of this folder",
            )
        return found

    # The project and its plan

    @property
    def project(self) -> Project:
        """The project, loaded and validated."""
        if self._project is None:
            self._project = self._load(Observed())
        return self._project

    def _load(self, observed: Observed) -> Project:
        from modelbuild.project import project

        options = project.Options(
            vars=dict(self.settings.vars),
            sets=self.settings.sets,
            name=self.settings.name,
            quantize=self.settings.quantize,
        )
        return project.load(self.file, observed=observed, keep=self.kept, options=options)

    @cached_property
    def _key(self) -> str:
        settings = self.settings
        asked = [
            sys.prefix,
            self.file,
            settings.vars,
            settings.sets,
            settings.name,
            settings.quantize,
            self._models_option(),
            self._home(os.environ.get("OLLAMA_MODELS")),
            os.path.expanduser("~"),
        ]
        return sha256(canonical(asked))

    def _models_option(self) -> str | None:
        """The models folder that the command line names."""
        named = self.settings.models
        return started_in(self.settings.folder, named) if named else None

    def _home(self, env: str | None) -> str:
        """The models folder of the user's Ollama."""
        named = default_folder(env, os.path.expanduser("~"))
        return os.path.abspath(os.path.join(os.path.realpath(self.settings.folder), named))

    @cached_property
    def _plan(self) -> KeptPlan:
        value = self.kept.get("plan:" + self._key)
        plan = KeptPlan.decode(value) if value is not None else None
        if plan is not None:
            self.sources.prepare_paths(subject for verb, subject, _ in plan.looks if verb == "read")
            if unchanged(plan.looks, self.sources.file_digest):
                return plan
        plan = self._make(self._observed)
        self.kept.put("plan:" + self._key, plan.encode())
        return plan

    def _make(self, observed: Observed) -> KeptPlan:
        from modelbuild.plan.plan import plan

        self._project = project = self._load(observed)
        home = self._home(observed.env("OLLAMA_MODELS"))
        models = self._models_option() or project.models or home
        graph, warnings = plan(project, observed, list(dict.fromkeys([models, home])))
        warnings = [*project.warnings, *warnings]
        return KeptPlan(project.root, models, project.targets.words, warnings, observed.looks(), graph.encode())

    def looks(self) -> Sequence[Look]:
        """Every look that the plan was made by; of one that failed, those before it did."""
        return self._plan.looks if "_plan" in vars(self) else self._observed.looks()

    @cached_property
    def graph(self) -> Graph:
        return Graph.decode(self._plan.graph)

    def words(self) -> Words:
        """Every word that can be a target, and the labels of the outputs it means."""
        return self._plan.words

    @property
    def root(self) -> str:
        return self._plan.root

    @property
    def warnings(self) -> list[Error]:
        return list(self._plan.warnings)

    @cached_property
    def models(self) -> ModelsFolder:
        # A name given by -t is declared by nothing but that command line, so no other build may call it stale.
        project = f"{self.file} -t {self.settings.name}" if self.settings.name else self.file
        return ModelsFolder(self._plan.models, self.store, project)

    def up_to_date(self, targets: Sequence[str]) -> Stamp | None:
        """The stamp of the last build of these targets, if it still holds: then there is nothing to do."""
        value = self.kept.get(self._stamp_key(targets))
        stamp = Stamp.decode(value) if value is not None else None
        return stamp if stamp is not None and stamp.holds() else None

    def _stamp_key(self, targets: Sequence[str]) -> str:
        return "stamp:" + sha256(canonical([self._key, sorted(targets)]))

    def select(self, targets: Sequence[str]) -> Selection:
        """What the targets mean: variants, models, names, groups, globs over them; none means the default. Raises Errors."""
        wanted = self._plan.words.select(targets)
        return Selection(tuple(targets), [output for output in self.graph.outputs if output.label in wanted])

    # Building

    def build(self, selection: Selection, options: BuildOptions, report: Callable[[Event], None]) -> list[Error]:
        """Build what was selected and publish it. Returns what went wrong; nothing is lost of what went well."""
        limit = cache_limit()
        models = self.models
        models.check_writable()
        self.store.database.waiting = lambda path: report({"event": "waiting", "path": path})
        stale = self.stale()
        if stale:
            report({"event": "stale", "names": stale})
        graph = self.graph.select(selection.outputs)
        try:
            build = self._run(graph, options, report)
        except Untrue as untrue:
            # The cache's records are wrong, as after a fault of its disk: believe none of them.
            if options.force:
                return [untrue.error]
            report({"event": "distrust", "path": self.store.root})
            build = self._run(graph, options._replace(force=True), report)
        # Where something is left to tidy up, the next build must not take it that there is nothing to do.
        if self._tidied and not (build.errors or stale or self._plan.warnings):
            with contextlib.suppress(Error):
                self._stamp(selection, graph, build)
        if build.ran:
            with contextlib.suppress(OSError, Error):
                self.store.evict(limit)
        return build.errors

    def _run(self, graph: Graph, options: BuildOptions, report: Callable[[Event], None]) -> Build:
        models = self.models
        if options.force:
            models.doubt()
        worker = Worker(
            self.cache,
            self.sources,
            jobs=options.jobs,
            memory=self.settings.memory or default_memory(),
            scratch=models.scratch,
            report=report,
            force=options.force,
        )
        side = ModelSide(
            work=worker.run,
            publish=models.publish_all,
            restore=models.restore,
            preflight=lambda graph, running: self._preflight(graph, running, report),
            placed=placed.placed,
            abort=worker.stop.set,
        )
        build = Build(graph, Records(self.cache, self.sources, self.history), side, report, options)
        with interrupt.deferred(worker.stop.set):
            try:
                build.run()
            finally:
                worker.close()
                with interrupt.put_off():
                    self._tidied = self._tidy()
                if models.taken:
                    report({"event": "taken", "names": models.taken, "models": models.root})
        return build

    def _tidy(self) -> bool:
        """Leave nothing behind. What goes wrong here takes no other error's place; returns whether all went well."""
        swept = False
        with contextlib.suppress(OSError, Error):
            self.models.sweep()
            swept = True
        self.store.drop_unfinished()
        return self.models.tidy() and swept

    def _preflight(
        self, graph: Graph, running: Collection[str], report: Callable[[Event], None]
    ) -> Mapping[str, Sequence[Error]]:
        faults: dict[str, Sequence[Error]] = {}
        if running:
            from modelbuild.plan import preflight

            findings = preflight.refuse(graph, running, self.models.root)
            faults.update(findings.errors)
            for path, architecture in findings.unjudged.items():
                report({"event": "unjudged", "path": path, "architecture": architecture})
        for output in graph.outputs:
            if found := self.models.misplaced(output):
                faults[output.manifest] = [*faults.get(output.manifest, ()), *found]
        return faults

    def standing(self, graph: Graph) -> Standing:
        """Which steps of a graph a build would find made. No large file is read for the first time. Raises Error."""
        return look_up(graph, self.cache, self.sources, self.sources.beyond(LOOK, graph.sources()))

    def unmade(self, graph: Graph) -> set[str]:
        """The steps of a graph that a build would run because of the weights they are made from."""
        return unmade(graph, self.cache, self.sources)[0]

    def _stamp(self, selection: Selection, graph: Graph, build: Build) -> None:
        """Keep a stamp of what is finished, under the words it was asked for with."""
        results = build.results
        outputs: dict[str, os.stat_result] = {}
        for output in graph.outputs:
            found = self.models.finished(output, results[output.manifest], [results[name] for name in output.blobs])
            if found is None:
                return
            outputs.update(found)
        sources = {source.path for source in graph.sources()}
        stamp = take(len(graph.outputs), len(graph.steps), self._plan.looks, sources, outputs)
        if stamp is not None and self._is_current(graph):
            self.kept.put(self._stamp_key(selection.targets), stamp.encode())

    def _is_current(self, graph: Graph) -> bool:
        """Whether the plan and the sources are still what this build was made of: the stats of a stamp would hide an edit since."""
        fresh = self._sources()
        fresh.prepare(graph.sources())
        fresh.prepare_paths(subject for verb, subject, _ in self._plan.looks if verb == "read")
        if not unchanged(self._plan.looks, fresh.file_digest) or fresh.unhashed(graph.sources()):
            return False
        return all(fresh.digest(source) == self.sources.digest(source) for source in graph.sources())

    def stale(self) -> list[str]:
        """Names in the models folder that this project wrote and no longer declares."""
        return self.models.stale({name for output in self.graph.outputs for name in output.names})

    def close(self) -> None:
        self.store.close()
