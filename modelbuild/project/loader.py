"""Load a project: read its ModelBuild.toml or Modelfile, find its models, and report all errors at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelbuild.errors import Error, Errors, Problems, once
from modelbuild.files import expand
from modelbuild.observed import Observed
from modelbuild.ollama.name import NAMESPACE, Name
from modelbuild.project import (
    caching,
    discovery,
    expansion,
    grouping,
    mixes,
    modelfiles,
    outputs,
    parts,
    pushes,
    toml,
    tooling,
    unused,
    weights,
)
from modelbuild.project.broken import Broken
from modelbuild.project.discovery import GLOB
from modelbuild.project.locate import Place
from modelbuild.project.models import Laid, Models
from modelbuild.project.overlay import Said
from modelbuild.project.overrides import Overrides
from modelbuild.project.parts import Included, Part
from modelbuild.project.project import Origin, Project
from modelbuild.project.row import Surroundings
from modelbuild.project.targets import Targets, spelled
from modelbuild.project.texts import Texts
from modelbuild.project.toml import Toml, has_key
from modelbuild.project.variant import Tools, Variant
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.project.document import Keep


def load(file: str, *, observed: Observed, keep: Keep, given: Overrides | None = None) -> Project:
    """Read a ModelBuild.toml, or a Modelfile or weights as a project of one model; `file` is absolute.

    What is wrong with a model breaks that model alone. Raises Errors with everything that is wrong, ordered by place, where a
    fault concerns the whole project, or Error.
    """
    given, problems = given or Overrides(), Problems()
    texts = Texts(os.path.dirname(file), observed, problems)
    is_toml = file.endswith(".toml")
    is_weights = not is_toml and discovery.is_weights(file)
    data, shown = b"" if is_weights else texts.read(file), texts.shown(file)
    if is_toml:
        _refuse_options_of_modelfiles(given, shown)
    top = Place(shown, toml.decoded(data, shown) if is_toml else "")
    declared = toml.read(top, given, observed, keep, problems)
    if declared is None:
        raise Errors(_ordered(problems.errors, top))
    folder, namespace = _models_folder(declared, texts), parts.namespace(declared)
    others = Included((), (), {})
    if is_weights:
        declared, found = weights.adopt(file, declared, is_named=given.name is not None), {}
    elif is_toml:
        if "include" in declared.table("project"):
            others = parts.Reading(declared, namespace, folder, given, texts, keep).included(problems)
        finder = discovery.Finder(texts.root, folder, observed)
        found = modelfiles.discover(declared, finder, texts, problems, others.folders)
    else:
        found = modelfiles.adopt(file, data, texts, is_named=given.name is not None)
    every = [Part("", declared, found, namespace), *others.parts]
    loaded = _Loaded(every, others, given, texts, problems)
    targets = loaded.targets()
    name = declared.string(declared.table("project"), "name", top.at("project"))
    cache = caching.read(declared, texts)
    if problems.errors:
        of_parts = [each.errors for each in targets.called if isinstance(each, Broken)]
        raise Errors(_ordered([*problems.errors, *chain.from_iterable(of_parts)], top))
    warnings = tuple(_ordered(problems.warnings, top))
    unowned = frozenset(part.name for part in others.parts if not part.is_owner)
    found_wrong = {each.model for each in targets.called if isinstance(each, Broken)}
    known = Project(texts.root, file, name or None, namespace, folder, targets, warnings, loaded.origins())
    return known._replace(doubtful=loaded.doubtful(found_wrong), unowned=unowned, cache=cache)


class Wanted(NamedTuple):
    """Some models of a project that was loaded before.

    models  as the whole project calls them
    found   model -> Modelfile that was found for it: of these models, and of those that they extend
    parts   the parts in which these are
    names   the file of each part of the project -> its name
    """

    models: Collection[str]
    found: Mapping[str, str]
    parts: Collection[str] = ()
    names: Mapping[str, str] = MappingProxyType({})

    def models_of(self, part: str) -> set[str]:
        """Those of one part, as it calls them."""
        return {model for name, model in map(self._divided, self.models) if name == part}

    def found_of(self, part: str) -> dict[str, str]:
        divided = ((*self._divided(each), path) for each, path in self.found.items())
        return {model: path for name, model, path in divided if name == part}

    def _divided(self, address: str) -> tuple[str, str]:
        name, slash, model = address.partition("/")
        return (name, model) if slash and name in self.parts else ("", address)


class LoadedModels(NamedTuple):
    """Some models of a project that are right in themselves: their variants, and of each model what decides them.

    parts  the names of all parts of the project
    """

    variants: Sequence[Variant]
    origins: Mapping[str, Origin]
    parts: Collection[str] = ()


def document(file: str, *, observed: Observed, keep: Keep, given: Overrides) -> Mapping[str, Any] | None:
    """What a ModelBuild.toml says now; None where anything is wrong with it."""
    problems = Problems()
    texts = Texts(os.path.dirname(file), observed, problems)
    data, shown = texts.read(file), texts.shown(file)
    declared = toml.read(Place(shown, toml.decoded(data, shown)), given, observed, keep, problems)
    if declared is None or problems or declared.malformed or declared.faults:
        return None
    return declared.document


def load_models(file: str, wanted: Wanted, *, observed: Observed, keep: Keep, given: Overrides) -> LoadedModels | None:
    """Load models of a ModelBuild.toml again; None where anything is wrong with it, or with them."""
    problems = Problems()
    texts = Texts(os.path.dirname(file), observed, problems)
    data, shown = texts.read(file), texts.shown(file)
    declared = toml.read(Place(shown, toml.decoded(data, shown)), given, observed, keep, problems)
    if declared is None:
        return None
    texts.parse_all(wanted.found.values(), declared.top.at("project"))
    namespace = parts.namespace(declared)
    every = [Part("", declared, wanted.found_of(""), namespace)]
    reading = parts.Reading(declared, namespace, None, given, texts, keep)
    for shown, name in wanted.names.items():
        if name in wanted.parts:
            _, part = reading.text(os.path.join(texts.root, shown), Problems())
            if part is None:
                return None
            every.append(part._replace(found=wanted.found_of(name)))
    family = _Family(every, Included((), (), wanted.names), given, texts)
    expanded = [(part, each) for part in every for each in family.expanded(part, wanted.models_of(part.name))]
    if any(part.toml.problems for part in every) or not all(each.laid.is_all and each.variants for _, each in expanded):
        return None
    origins = {part.address(each.laid.model): family.origin(part, each) for part, each in expanded}
    variants = [variant for _, each in expanded for variant in each.variants]
    return LoadedModels(variants, origins, {*wanted.names.values()})


def _refuse_options_of_modelfiles(given: Overrides, shown: str) -> None:
    if given.name or given.quantize:
        option = "-t" if given.name else "-q"
        here = (
            "`name` and `tag`" if given.name else f"`quantize`, or for one build --set MODEL.quantize={given.quantize}"
        )
        hint = f"-f FILE names the Modelfile; in a ModelBuild.toml use {here}"
        raise Error(f"'{option}' is for a Modelfile, got '{shown}'", hint=hint)


def _ordered(errors: Iterable[Error], top: Place) -> list[Error]:
    """Each error once, by its place; those of the project's own file come first."""
    return sorted(once(errors), key=lambda e: (e.path != top.file, e.path or "", e.line or 0, e.column or 0))


def _models_folder(declared: Toml, texts: Texts) -> str | None:
    here = declared.top.at("project")
    folder = declared.string(declared.table("project"), "models", here)
    with declared.problems.at(here.at("models")):
        return expand(folder, texts.root) if folder else None
    return None


class _Expanded(NamedTuple):
    """A model, its variants, and what was said of it while they were made."""

    laid: Laid
    variants: Sequence[Variant]
    warnings: Sequence[Error]


class _Family:
    """The models of some parts of a project, which extend one another; the first part is the project's own text."""

    def __init__(self, every: Sequence[Part], others: Included, given: Overrides, texts: Texts) -> None:
        self.every = every
        self.models: dict[str, Models] = {}
        """By the names of the parts."""
        self._folders = others.folders
        self._given = given
        self._texts = texts
        broken = {each.label: each.errors for each in others.broken if each.model}
        for part in every:
            Models(part.toml, part.found, texts, part.name, self.models, broken)
        self._around = dict(self._surroundings())

    def _surroundings(self) -> Iterator[tuple[str, Surroundings]]:
        """What the rows of each part have in common. A part has the mixes of the project's own text, and its own in their place."""
        mixes_around: dict[str, Said] = {}
        tools_around: Tools | None = None
        faults_around: dict[str, Sequence[Error]] = {}
        for part in self.every:
            declared, wrong = part.toml, Problems()
            custom = mixes.read(declared.table("ftype"), part.top, declared.vars, wrong)
            faults = {name: [*declared.faults.get(f"[ftype.{name}]", ()), *wrong.of(name).errors] for name in custom}
            for name, errors in faults.items():
                declared.problems.of(f"[ftype.{name}]").add(*errors)
            whole, wholly = {**mixes_around, **custom}, {**faults_around, **faults}
            tools = tooling.read(declared, self._texts, tools_around)
            if not part.name:
                mixes_around, faults_around, tools_around = whole, wholly, tools
            yield part.name, Surroundings(self._texts, declared.vars, part.namespace, whole, wholly, tools)

    def around(self, part: Part, laid: Laid) -> Surroundings:
        """What a model may name: what its part does, and behind that what other parts do whose tables it extends."""
        around = self._around[part.name]
        for each in map(self._around.__getitem__, laid.parts):
            around = around._replace(
                vars={**each.vars, **around.vars},
                mixes={**each.mixes, **around.mixes},
                faults={**each.faults, **around.faults},
            )
        return around

    def expanded(self, part: Part, only: Collection[str] | None = None) -> Iterator[_Expanded]:
        """The models of a part, or `only` some of them, and their variants, as the whole project calls these."""
        models, problems = self.models[part.name], part.toml.problems
        before = len(problems.warnings)
        for laid in models.laid(self._given, problems, only):
            around = self.around(part, laid)
            made = expansion.expand(laid, around, models.found, problems if laid.is_all else Problems())
            made = [part.addressed(each, self._folders) for each in made]
            yield _Expanded(laid, made, problems.warnings[before:])
            before = len(problems.warnings)

    def origin(self, part: Part, expanded: _Expanded) -> Origin:
        """What decides a model that is right in itself."""
        laid, variants, warnings = expanded
        modelfiles = {each.modelfile.path: each.modelfile for each in variants if each.modelfile}
        files = [os.path.normpath(os.path.join(self._texts.root, path)) for path in modelfiles]
        said = (*warnings, *chain.from_iterable(each.warnings for each in modelfiles.values()))
        return Origin(
            self.models[part.name].modelfiles(laid.model),
            [path for path in files if path not in self._texts.plain()],
            [name for name in (part.name, *laid.parts) if name],
            once(said),
        )


class _Loaded:
    """The models of all parts of a project, together; `others` are those besides its own text."""

    def __init__(
        self, every: Sequence[Part], others: Included, given: Overrides, texts: Texts, problems: Problems
    ) -> None:
        is_whole = not others.broken
        self._every = every
        self._others = others
        self._problems = problems
        self._top = every[0].top
        self._guessed: dict[str, set[str]] = {}
        self._whole: list[tuple[Part, _Expanded]] = []
        self._extended: dict[str, set[str]] = {part.name: {part.name, ""} for part in every}
        self._faults = {part.address(name): found for part in every for name, found in part.toml.faults.items()}
        self._family = family = _Family(every, others, given, texts)
        self._variants = [each for part in every for each in self._of_part(part)]
        self._lists = [each for part in every for each in grouping.lists(part)]
        for part in every:
            family.models[part.name].tell_unmatched(part.toml.problems)
            _take(problems, part)
        self._names = [models.address(name) for models in family.models.values() for name in models.names]
        for part in every if not problems else ():
            if not family.models[part.name].names and (part.name or (is_whole and len(every) == 1)):
                what = "no model: neither a [model.NAME] nor a Modelfile"
                problems.warn(Error(what, path=part.top.file))
        if is_whole and not problems and {each.model for each in self._variants} == set(self._names):
            # A model of which something is wrong may be what uses them.
            self._warn_of_unused()
        expansion.check_names(self._variants, problems)
        outputs.check(self._variants, problems)
        pushes.check(self._variants, problems)

    def _of_part(self, part: Part) -> Iterator[Variant]:
        """The variants of a part's models; what the models may be called whose variants cannot be told is guessed."""
        for expanded in self._family.expanded(part):
            laid, made, _ = expanded
            self._extended[part.name].update(laid.parts)
            if laid.is_all:
                self._whole.append((part, expanded))
                yield from made
            if not made or not laid.is_all:
                # Whatever else is FROM it by one of these words must not find what was built of it before.
                around = self._family.around(part, laid)
                words = {*_plain_name(laid, around), *(word for each in made for word in spelled(each))}
                self._guessed[part.address(laid.model)] = words

    def _warn_of_unused(self) -> None:
        mixed = {(each.mix_table.file, each.quantize) for each in self._variants if each.mix_table}
        for part in self._every:
            # All see the variables of the project's own text; those of a part also fill in what the part extends.
            seen = self._extended[part.name]
            users = [each.toml.document for each in self._every if not part.name or each.name in seen]
            self._problems.warn_of_some(
                unused.variables(part.toml.table("vars"), users, self._every[0].toml.sets, part.top)
            )
            own = part.toml.mixes
            quantized = {name for file, name in mixed if file == part.top.file}
            self._problems.warn_of_some(unused.mixes(own, quantized, part.top))

    def _sorted_out(self) -> list[Variant | Broken]:
        """The variants, those of which something is wrong as broken ones."""
        made: dict[str, list[Variant]] = {}
        for variant in self._variants:
            made.setdefault(variant.model, []).append(variant)
        wrong = {name: problems.errors for name, problems in self._problems.parts.items() if problems.errors}
        found: list[Variant | Broken] = []
        for model in self._names:
            of_model = wrong.get(model, [])
            if model not in made:
                errors = _ordered(of_model, self._top)
                found.append(Broken(model, model, errors, words=self._guessed.get(model, ())))
            for variant in made.get(model, ()):
                errors = _ordered([*of_model, *wrong.get(variant.label, ())], self._top)
                found.append(Broken.of(variant, errors) if errors else variant)
        return found

    def _beside_models(self, called: Iterable[Variant | Broken]) -> Iterator[Broken]:
        """What is wrong and is told with no model: groups, and mixes and tables that no model uses."""
        told = {error.key for each in called if isinstance(each, Broken) for error in each.errors}
        wrong = {name: problems.errors for name, problems in self._problems.parts.items()}
        for name in dict.fromkeys([*self._faults, *wrong]):
            errors = _ordered([*self._faults.get(name, ()), *wrong.get(name, ())], self._top)
            if any(error.key not in told for error in errors) or (errors and name.startswith("[group.")):
                label = f'[model."{name}"]' if GLOB.search(name) and not name.startswith("[") else name
                # After a file a model may have been named before.
                yield Broken("", label, tuple(errors), None if name.startswith("./") else ())

    def origins(self) -> dict[str, Origin]:
        """Of each model that is right in itself what decides it."""
        return {part.address(each.laid.model): self._family.origin(part, each) for part, each in self._whole}

    def doubtful(self, wrong: Collection[str]) -> frozenset[str] | None:
        """The Modelfiles that may decide some models of which something is wrong; None where they cannot be told."""
        if not wrong:
            return frozenset()
        tables = (part.toml.table(name) for part in self._every for name in ("defaults", "model"))
        if self._others.broken or any(has_key(table, "modelfile") for table in tables):
            return None
        family = self._family.models.values()
        found = [each.modelfiles(name) for each in family for name in each.names if each.address(name) in wrong]
        return frozenset(path for paths in found for path in paths.values())

    def targets(self) -> Targets:
        """What groups and targets mean. Names that can mean nothing are refused, globs that match nothing pointed out."""
        called = (*self._sorted_out(), *self._others.broken)
        targets = grouping.targets(self._every, self._lists, self._others.names, called, self._problems)
        return targets.called_too(self._beside_models(called))


def _take(problems: Problems, part: Part) -> None:
    """Add what is wrong with a part to what is wrong with the project."""
    if part.name:
        # One that can be read has none left but in its `default`.
        problems.of(f"[group.{part.name}]").add(*part.toml.problems.errors)
        problems.warn(*part.toml.problems.warnings)
        for name, found in part.toml.problems.parts.items():
            problems.of(part.address(name)).take(found)


def _plain_name(laid: Laid, around: Surroundings) -> Iterator[str]:
    """The name that a model says, where it is one as it stands."""
    said = laid.said.get("name")
    with suppress(Error):
        if said and isinstance(said.value, str):
            yield Name.parse(said.value, namespace=around.namespace or NAMESPACE).display().removesuffix(":latest")
