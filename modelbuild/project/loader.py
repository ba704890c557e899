"""Load a project: read its ModelBuild.toml or Modelfile, find its models, and report all errors at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from modelbuild.errors import Error, Errors, Problems, once
from modelbuild.files import expand
from modelbuild.observed import Observed
from modelbuild.ollama.name import NAMESPACE, Name
from modelbuild.project import (
    discovery,
    expansion,
    grouping,
    mixes,
    modelfiles,
    outputs,
    parts,
    pushes,
    toml,
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
from modelbuild.project.toml import Toml
from modelbuild.project.variant import Variant

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
    if problems.errors:
        of_parts = [each.errors for each in targets.called if isinstance(each, Broken)]
        raise Errors(_ordered([*problems.errors, *chain.from_iterable(of_parts)], top))
    warnings = tuple(_ordered(problems.warnings, top))
    return Project(texts.root, file, name or None, namespace, folder, targets, warnings, loaded.origins())


class LoadedModels(NamedTuple):
    """Some models of a project that are right in themselves: their variants, and of each model what decides them."""

    variants: Sequence[Variant]
    origins: Mapping[str, Origin]


def load_models(
    file: str,
    wanted: Collection[str],
    found: Mapping[str, str],
    *,
    observed: Observed,
    keep: Keep,
    given: Overrides,
) -> LoadedModels | None:
    """Some models of a ModelBuild.toml that was loaded before, without parts; None where anything is wrong with it, or with them.

    found  model -> Modelfile that was found for it: of the wanted models, and of those that they extend
    """
    problems = Problems()
    texts = Texts(os.path.dirname(file), observed, problems)
    data, shown = texts.read(file), texts.shown(file)
    top = Place(shown, toml.decoded(data, shown))
    declared = toml.read(top, given, observed, keep, problems)
    if declared is None:
        return None
    texts.parse_all(found.values(), top.at("project"))
    models = Models(declared, found, texts)
    custom = mixes.read(declared.table("ftype"), declared.top, declared.vars, problems)
    around = Surroundings(texts, declared.vars, parts.namespace(declared), custom, {})
    expanded = [*_expanded(models, lambda laid: around, given, problems, wanted)]
    if problems or not all(each.laid.is_all and each.variants for each in expanded):
        return None
    origins = {each.laid.model: _origin(each, models, texts) for each in expanded}
    return LoadedModels([variant for each in expanded for variant in each.variants], origins)


class _Expanded(NamedTuple):
    """A model, its variants, and what was said of it while they were made."""

    laid: Laid
    variants: Sequence[Variant]
    warnings: Sequence[Error]


def _expanded(
    models: Models,
    around: Callable[[Laid], Surroundings],
    given: Overrides,
    problems: Problems,
    only: Collection[str] | None = None,
) -> Iterator[_Expanded]:
    before = len(problems.warnings)
    for laid in models.laid(given, problems, only):
        made = expansion.expand(laid, around(laid), models.found, problems if laid.is_all else Problems())
        yield _Expanded(laid, made, problems.warnings[before:])
        before = len(problems.warnings)


def _origin(expanded: _Expanded, models: Models, texts: Texts) -> Origin:
    modelfiles = {each.modelfile.path: each.modelfile for each in expanded.variants if each.modelfile}
    files = [os.path.normpath(os.path.join(texts.root, path)) for path in modelfiles]
    said = (*expanded.warnings, *chain.from_iterable(each.warnings for each in modelfiles.values()))
    found = models.modelfiles(expanded.laid.model)
    return Origin(found, [path for path in files if path not in texts.plain()], once(said))


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


class _Loaded:
    """The models of all parts of a project, together; `others` are those besides its own text."""

    def __init__(
        self, every: Sequence[Part], others: Included, given: Overrides, texts: Texts, problems: Problems
    ) -> None:
        is_whole = not others.broken
        self._every = every
        self._others = others
        self._folders = others.folders
        self._given = given
        self._texts = texts
        self._problems = problems
        self._top = every[0].top
        self._guessed: dict[str, set[str]] = {}
        self._whole: list[tuple[Models, _Expanded]] = []
        self._extended: dict[str, set[str]] = {part.name: {part.name, ""} for part in every}
        self._faults = {part.address(name): found for part in every for name, found in part.toml.faults.items()}
        self._family: dict[str, Models] = {}
        broken = {each.label: each.errors for each in others.broken if each.model}
        for part in every:
            Models(part.toml, part.found, texts, part.name, self._family, broken)
        self._around = dict(self._surroundings())
        self._variants = [each for part in every for each in self._of_part(part)]
        self._lists = [each for part in every for each in grouping.lists(part)]
        for part in every:
            self._family[part.name].tell_unmatched(part.toml.problems)
            _take(problems, part)
        self._names = [models.address(name) for models in self._family.values() for name in models.names]
        for part in every if not problems else ():
            if not self._family[part.name].names and (part.name or (is_whole and len(every) == 1)):
                what = "no model: neither a [model.NAME] nor a Modelfile"
                problems.warn(Error(what, path=part.top.file))
        if is_whole and not problems and {each.model for each in self._variants} == set(self._names):
            # A model of which something is wrong may be what uses them.
            self._warn_of_unused()
        expansion.check_names(self._variants, problems)
        outputs.check(self._variants, problems)
        pushes.check(self._variants, problems)

    def _surroundings(self) -> Iterator[tuple[str, Surroundings]]:
        """What the rows of each part have in common. A part has the mixes of the project's own text, and its own in their place."""
        mixes_around: dict[str, Said] = {}
        faults_around: dict[str, Sequence[Error]] = {}
        for part in self._every:
            declared, wrong = part.toml, Problems()
            custom = mixes.read(declared.table("ftype"), part.top, declared.vars, wrong)
            faults = {name: [*declared.faults.get(f"[ftype.{name}]", ()), *wrong.of(name).errors] for name in custom}
            for name, errors in faults.items():
                declared.problems.of(f"[ftype.{name}]").add(*errors)
            whole, wholly = {**mixes_around, **custom}, {**faults_around, **faults}
            if not part.name:
                mixes_around, faults_around = whole, wholly
            yield part.name, Surroundings(self._texts, declared.vars, part.namespace, whole, wholly)

    def _around_of(self, part: Part, laid: Laid) -> Surroundings:
        """What a model may name: what its part does, and behind that what other parts do whose tables it extends."""
        around = self._around[part.name]
        for each in map(self._around.__getitem__, laid.parts):
            around = around._replace(
                vars={**each.vars, **around.vars},
                mixes={**each.mixes, **around.mixes},
                faults={**each.faults, **around.faults},
            )
        return around

    def _of_part(self, part: Part) -> Iterator[Variant]:
        """The variants of a part's models; what the models may be called whose variants cannot be told is guessed."""
        problems = part.toml.problems
        models = self._family[part.name]
        for expanded in _expanded(models, partial(self._around_of, part), self._given, problems):
            laid = expanded.laid
            self._extended[part.name].update(laid.parts)
            made = [part.addressed(each, self._folders) for each in expanded.variants]
            if laid.is_all:
                self._whole.append((models, expanded))
                yield from made
            if not made or not laid.is_all:
                # Whatever else is FROM it by one of these words must not find what was built of it before.
                around = self._around_of(part, laid)
                words = {*_plain_name(laid, around), *(word for each in made for word in spelled(each))}
                self._guessed[models.address(laid.model)] = words

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
        return {models.address(each.laid.model): _origin(each, models, self._texts) for models, each in self._whole}

    def targets(self) -> Targets:
        """What groups and targets mean. Names that can mean nothing are refused, globs that match nothing pointed out."""
        called = (*self._sorted_out(), *self._others.broken)
        targets = grouping.targets(self._every, self._lists, self._others.names, called, self._problems)
        return replace(targets, called=(*called, *self._beside_models(called)))


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
