"""One run of the tool over one project: the store, and the plan, which is kept while nothing changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from modelbuild import trace
from modelbuild.digest import canonical, xxh3
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.kept import Kept
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.files import Waiting
from modelbuild.observed import Look, Observed, unchanged
from modelbuild.ollama.library import Library, default_folder
from modelbuild.publish.written import Owner, Written
from modelbuild.session.kept_plan import MANY, KeptPlan, KeptPlans
from modelbuild.session.nearest import nearest
from modelbuild.session.settings import Settings, cache_folder, started_in
from modelbuild.session.stamp import Edit
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.engine.graph import Graph, Output
    from modelbuild.engine.sources import Sources
    from modelbuild.engine.standing import Records, Standing
    from modelbuild.plan.needs import Room
    from modelbuild.plan.planner import Elsewhere
    from modelbuild.plan.remarks import Told
    from modelbuild.project.broken import Broken
    from modelbuild.project.lock import Outside
    from modelbuild.project.overrides import Overrides
    from modelbuild.project.project import Project
    from modelbuild.project.remote_cache import RemoteCache
    from modelbuild.project.targets import Words
    from modelbuild.publish.exported import Exported, Replaces
    from modelbuild.publish.models_folder import ModelsFolder


class Selection(NamedTuple):
    """Outputs, the targets they were asked for with, and what these mean too and cannot be built.

    exported  who writes the files of the outputs, where these alone are wanted; None where models go into the models folder
    wanted    the shape and the folder that they alone are put into, as session/exports reads it
    into      what was asked for them
    edit      what was changed since all that was asked for was built, where the outputs are only what this reaches
    """

    targets: tuple[str, ...]
    outputs: Sequence[Output]
    broken: Sequence[Broken] = ()
    exported: Exported | None = None
    into: str | None = None
    wanted: tuple[str, ...] = ()
    edit: Edit | None = None

    @property
    def named(self) -> Sequence[Output]:
        """The outputs that get their names in the models folder."""
        return self.outputs if self.exported is None else ()

    def empty(self) -> Error:
        """The error for a command that needs a model where the targets mean none."""
        if not self.targets:
            return Error("this project declares no models")
        meant = listed(f"'{each}'" for each in self.targets)
        return Error(f"{meant} matches no model", hint="the group is empty: list its members in [group]")


class Session:
    """Finds the project and opens the store. Raises Error or Errors for what is wrong with either."""

    def __init__(self, settings: Settings, waiting: Waiting | None = None) -> None:
        self.settings = settings
        self.file, self.part_file = self._find()
        """The project's, and that of the part in whose folder the command works."""
        self.store = Store(cache_folder(settings), waiting)
        self.cache = LocalCache(self.store)
        self.kept = Kept(self.store.database)
        self.withheld: Mapping[str, Broken] = {}
        """By label, what cannot be built since what it needs could not be fetched."""
        self.patient = False
        """Whether a build may take a moment more, so that less is left for the next one."""
        self._project: Project | None = None
        self._observed = self._new_looks()

    def _find(self) -> tuple[str, str | None]:
        from modelbuild.project.included import project_of

        file = nearest(self.settings)
        project = project_of(file)
        return (file, None) if project is None else (project, file)

    @cached_property
    def records(self) -> Records:
        """What is known from earlier builds."""
        from modelbuild.engine.history import History
        from modelbuild.engine.standing import Records

        return Records(self.cache, self.new_sources(), History(self.store.database, self.file))

    @property
    def sources(self) -> Sources:
        return self.records.sources

    def use(self, cache: LocalCache) -> None:
        """Ask this cache for earlier results from now on."""
        self.cache = cache
        if "records" in vars(self):
            vars(self)["records"] = self.records._replace(cache=cache)

    def new_sources(self) -> Sources:
        """The sources, none of which has been looked at."""
        from modelbuild.engine.sources import Sources
        from modelbuild.engine.stat_cache import StatCache
        from modelbuild.session.leaves import digesters

        return Sources(StatCache(self.store.database), digesters())

    # The project and its plan

    @property
    def project(self) -> Project:
        """The project, loaded and validated."""
        if self._project is None:
            self._project = self._load(self._new_looks())
        return self._project

    def _new_looks(self) -> Observed:
        """No looks yet. The store and the models folder that the command line names may lie in the project."""
        return Observed(map(os.path.realpath, filter(None, [self.store.root, self._models_option()])))

    def _load(self, observed: Observed) -> Project:
        from modelbuild.project import loader

        return loader.load(self.file, observed=observed, keep=self.kept, given=self.overrides)

    @property
    def overrides(self) -> Overrides:
        """What the command line says of the project."""
        from modelbuild.project.overrides import Overrides

        settings = self.settings
        return Overrides(dict(settings.vars), settings.sets, settings.name, settings.quantize)

    @cached_property
    def key(self) -> str:
        """What all that is kept of this project is kept under, with these settings."""
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
            settings.wanted,
        ]
        return xxh3(canonical(asked))

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
        plans = KeptPlans(self.key, self.kept, self.store.database)
        if (plan := plans.current(self._is_current)) is None:
            with trace.span("plan", "plan", project=self.file):
                plan = self._make(self._observed)
            plans.keep(plan)
        return plan

    def _is_current(self, plan: KeptPlan) -> bool:
        self.sources.prepare_paths(subject for verb, subject, _ in plan.looks if verb == "read")
        with self.sources.together():
            return unchanged(plan.looks, self.sources.file_digest)

    def _make(self, observed: Observed) -> KeptPlan:
        from modelbuild.plan.plan import plan

        project = self._load(observed)
        # Many variants take much memory, and once they are planned hardly anybody asks for them.
        self._project = project if len(project.targets.called) <= MANY else None
        models = self._models_option() or project.models or self._home(observed.env("OLLAMA_MODELS"))
        made = plan(project, observed, *self.elsewhere(observed, models), wanted=self.settings.wanted)
        plain = self.settings.wanted is None and self.file.endswith(".toml")
        plain = plain and project.doubtful is not None
        editable = plain and not any(each.exports or each.file("output") for each in project.variants)
        return KeptPlan.of(project, made, models, observed.looks(), editable)

    def elsewhere(self, observed: Observed, models: str) -> Elsewhere:
        """What a plan sees besides the project; `models` is the models folder to write."""
        from modelbuild.plan.planner import Elsewhere
        from modelbuild.project import lock

        libraries = dict.fromkeys([models, self._home(observed.env("OLLAMA_MODELS"))])
        return Elsewhere([*libraries], lock.observe(self.file, observed), self.store.root, self._wrote)

    def _wrote(self, root: str, name: str, digest: str) -> bool:
        return Written(self.store.database, root).names(name).get(name) == (self.owner, digest)

    @property
    def owner(self) -> Owner:
        """Who writes names into the models folder."""
        return Owner.of(self.file, self.settings.name)

    def take(self, plan: KeptPlan) -> None:
        """Go on with a part of the plan."""
        self.replan()
        vars(self)["_plan"] = plan

    def replan(self) -> None:
        """Look at everything again, after something was fetched or pinned."""
        for name in ("_plan", "graph", "records"):
            vars(self).pop(name, None)
        self._project = None
        self._observed = self._new_looks()

    def looks(self) -> Sequence[Look]:
        """Every look that the plan was made by; of one that failed, those before it did."""
        return self._plan.looks if "_plan" in vars(self) else self._observed.looks()

    @cached_property
    def graph(self) -> Graph:
        return self._plan.graph

    def room(self, folder: str | None = None) -> Room:
        """Where a build writes; `folder` is where the models go, if that is not the models folder."""
        from modelbuild.plan.needs import Room

        kept = (self.store.scratch, *self.models.scratch_folders())
        return Room(folder or self.models.root, self.store.root, kept)

    def words(self) -> Words:
        """Every word that can be a target, and the labels of the outputs it means."""
        return self._plan.words.within(self.part)

    @property
    def part(self) -> str:
        """The part of the project in whose folder the command works; "" for the whole project."""
        file = self.part_file and os.path.relpath(self.part_file, self.root).replace(os.sep, "/")
        return self._plan.words.parts.get(file, "") if file else ""

    @property
    def plan_id(self) -> str:
        """What tells the plan that is kept from those before it."""
        return self._plan.id

    @property
    def broken(self) -> Sequence[Broken]:
        """All of the project that cannot be built, and why."""
        return self._plan.broken

    @property
    def outside(self) -> Mapping[str, Outside]:
        """By the label of a variant, the model or repository of elsewhere that it is based on, and what that is pinned to."""
        return self._plan.outside

    @property
    def remote_cache(self) -> RemoteCache:
        """Where results are shared with other machines, by the project and the command line."""
        declared = self.declared_cache
        return declared._replace(mode=self.settings.remote_cache or declared.mode)

    @property
    def declared_cache(self) -> RemoteCache:
        """Where results are shared with other machines, by the project alone."""
        return self._plan.head.cache

    @property
    def root(self) -> str:
        return self._plan.root

    @property
    def warnings(self) -> list[Error]:
        return list(self._plan.warnings)

    def remarks(self, outputs: Iterable[Output]) -> list[Told]:
        """What is worth knowing of some models, and stops nothing."""
        if not self._plan.remarks:
            return []
        from modelbuild.plan import remarks

        return remarks.of(self._plan.remarks, {output.label for output in outputs})

    def inputs(self) -> set[str]:
        """The files that the project is read from, without links: weights, ModelBuild.toml, Modelfiles, texts."""
        read = {subject for verb, subject, _ in self.looks() if verb == "read"}
        sources = {source.path for source in self.graph.sources()}
        return set(map(os.path.realpath, {self.file, *read, *sources}))

    def libraries(self) -> list[Library]:
        """The models folders that FROM looks in: the one to write first."""
        return [*map(Library, dict.fromkeys([self._plan.models, self._home(os.environ.get("OLLAMA_MODELS"))]))]

    @cached_property
    def models(self) -> ModelsFolder:
        """The models folder that the project is built into."""
        from modelbuild.publish.models_folder import ModelsFolder

        return ModelsFolder(self._plan.models, self.store, self.owner)

    def exported(self, owner: str | None = None, replaces: Replaces = "gguf") -> Exported:
        """The files that models are written to besides the models folder; without an owner those of the project."""
        from modelbuild.publish.exported import Exported

        return Exported(self.store, self.file if owner is None else owner, replaces)

    def select(self, targets: Sequence[str]) -> Selection:
        """What the targets mean: variants, models, names, groups, globs over them; none means the default. Raises Errors."""
        wanted = self.words().select(targets)
        outputs = [output for output in self.graph.outputs if output.label in wanted]
        return self._without_withheld(tuple(targets), outputs, [each for each in self.broken if each.label in wanted])

    def _without_withheld(
        self, targets: tuple[str, ...], outputs: Sequence[Output], broken: Sequence[Broken]
    ) -> Selection:
        built = [output for output in outputs if output.label not in self.withheld]
        others = [self.withheld[output.label] for output in outputs if output.label in self.withheld]
        return Selection(targets, built, [*(self.withheld.get(each.label, each) for each in broken), *others])

    def everything(self) -> Selection:
        """All that the project declares, or the part in whose folder the command works."""
        outputs, broken, part = self.graph.outputs, self.broken, self.part
        if part:
            outputs = tuple(output for output in outputs if output.label.startswith(f"{part}/"))
            broken = [each for each in broken if part in (each.label, *each.words) or each.label.startswith(f"{part}/")]
        return self._without_withheld((), outputs, broken)

    # How it stands

    def standing(self, graph: Graph) -> Standing:
        """Which steps of a graph a build would find made. No large file is read for the first time, and none that cannot be."""
        from modelbuild.engine.sources import LOOK
        from modelbuild.engine.standing import look_up

        large = self.sources.beyond(LOOK, graph.sources())
        wrong = self.sources.read(graph.sources(), but=large)
        return look_up(graph, self.records, {*large, *wrong})

    def unmade(self, graph: Graph) -> set[str]:
        """The steps of a graph that a build would run because of the weights they are made from."""
        from modelbuild.engine.standing import unmade

        return unmade(graph, self.records)[0]

    def stale_files(self) -> list[str]:
        """Files that this project wrote by `output` and no longer declares; none while a broken model may declare them."""
        if self.broken:
            return []
        return self.exported().stale({path for output in self.graph.outputs for path, _ in output.files})

    def stale(self) -> list[str]:
        """Names in the models folder that this project wrote and no longer declares; none while some model's names cannot be told."""
        declared = {name for output in self.graph.outputs for name in output.names}
        for each in self.broken:
            if each.names is None:
                return []
            declared.update(name.path() for name in each.names)
        return self.models.stale(declared)

    def close(self) -> None:
        self.store.close()
