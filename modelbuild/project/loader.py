"""Load a project: read its ModelBuild.toml or Modelfile, find its models, and report all errors at once."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from modelbuild.errors import Error, Errors, Problems, once
from modelbuild.files import expand
from modelbuild.observed import Observed
from modelbuild.ollama.name import NAMESPACE, Name, can_be
from modelbuild.project import discovery, expansion, mixes, modelfiles, outputs, pushes, toml, unused, weights
from modelbuild.project.broken import Broken
from modelbuild.project.discovery import GLOB
from modelbuild.project.locate import Place, part
from modelbuild.project.models import Laid, Models
from modelbuild.project.overrides import Overrides
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
    top = Place(shown, _decoded(data, shown) if is_toml else "")
    declared = toml.read(top, given, observed, keep, problems)
    if declared is None:
        raise Errors(_ordered(problems.errors, top))
    folder, namespace = _models_folder(declared, texts), _namespace(declared)
    if is_weights:
        declared, found = weights.adopt(file, declared, is_named=given.name is not None), {}
    elif is_toml:
        found = modelfiles.discover(declared, folder, texts, observed, problems)
    else:
        found = modelfiles.adopt(file, data, texts, is_named=given.name is not None)
    models = Models(declared, found, texts)
    variants, guessed, origins = _variants(models, declared, given, namespace, texts)
    targets = _targets(declared, _sorted_out(models, variants, guessed, declared))
    name = declared.string(declared.table("project"), "name", top.at("project"))
    if problems.errors:
        of_parts = [each.errors for each in targets.called if isinstance(each, Broken)]
        raise Errors(_ordered([*problems.errors, *chain.from_iterable(of_parts)], top))
    warnings = tuple(_ordered(problems.warnings, top))
    return Project(texts.root, file, name or None, namespace, folder, targets, warnings, origins)


class Part(NamedTuple):
    """Some models of a project that are right in themselves: their variants, and of each model what decides them."""

    variants: Sequence[Variant]
    origins: Mapping[str, Origin]


def load_part(
    file: str,
    wanted: Collection[str],
    found: Mapping[str, str],
    *,
    observed: Observed,
    keep: Keep,
    given: Overrides,
) -> Part | None:
    """Some models of a ModelBuild.toml that was loaded before; None where anything is wrong with it, or with them.

    found  model -> Modelfile that was found for it: of the wanted models, and of those that they extend
    """
    problems = Problems()
    texts = Texts(os.path.dirname(file), observed, problems)
    data, shown = texts.read(file), texts.shown(file)
    top = Place(shown, _decoded(data, shown))
    declared = toml.read(top, given, observed, keep, problems)
    if declared is None:
        return None
    texts.parse_all(found.values(), top.at("project"))
    models = Models(declared, found, texts)
    custom = mixes.read(declared.table("ftype"), declared.top, declared.vars, problems)
    around = Surroundings(texts, declared.vars, _namespace(declared), custom, {})
    expanded = [*_expanded(models, around, given, problems, wanted)]
    if problems or not all(each.laid.is_all and each.variants for each in expanded):
        return None
    origins = {each.laid.model: _origin(each, models, texts) for each in expanded}
    return Part([variant for each in expanded for variant in each.variants], origins)


class _Expanded(NamedTuple):
    """A model, its variants, and what was said of it while they were made."""

    laid: Laid
    variants: Sequence[Variant]
    warnings: Sequence[Error]


def _expanded(
    models: Models, around: Surroundings, given: Overrides, problems: Problems, only: Collection[str] | None = None
) -> Iterator[_Expanded]:
    before = len(problems.warnings)
    for laid in models.laid(given, problems, only):
        made = expansion.expand(laid, around, models.found, problems if laid.is_all else Problems())
        yield _Expanded(laid, made, problems.warnings[before:])
        before = len(problems.warnings)


def _origin(expanded: _Expanded, models: Models, texts: Texts) -> Origin:
    model = expanded.laid.model
    found = {each: models.found[each] for each in models.chain(model) if each in models.found}
    modelfiles = {each.modelfile.path: each.modelfile for each in expanded.variants if each.modelfile}
    files = [os.path.normpath(os.path.join(texts.root, path)) for path in modelfiles]
    said = (*expanded.warnings, *chain.from_iterable(each.warnings for each in modelfiles.values()))
    return Origin(found, [path for path in files if path not in texts.plain()], once(said))


def _refuse_options_of_modelfiles(given: Overrides, shown: str) -> None:
    if given.name or given.quantize:
        option = "-t" if given.name else "-q"
        here = (
            "`name` and `tag`" if given.name else f"`quantize`, or for one build --set MODEL.quantize={given.quantize}"
        )
        hint = f"-f FILE names the Modelfile; in a ModelBuild.toml use {here}"
        raise Error(f"'{option}' is for a Modelfile, got '{shown}'", hint=hint)


def _decoded(data: bytes, shown: str) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        hint = "save the file as UTF-8"
        raise Error("not TOML: the text is not UTF-8", path=shown, line=line, hint=hint) from None


def _ordered(errors: Iterable[Error], top: Place) -> list[Error]:
    """Each error once, by its place; those of the project's own file come first."""
    return sorted(once(errors), key=lambda e: (e.path != top.file, e.path or "", e.line or 0, e.column or 0))


def _models_folder(declared: Toml, texts: Texts) -> str | None:
    here = declared.top.at("project")
    folder = declared.string(declared.table("project"), "models", here)
    with declared.problems.at(here.at("models")):
        return expand(folder, texts.root) if folder else None
    return None


def _namespace(declared: Toml) -> str | None:
    here = declared.top.at("project")
    namespace = declared.string(declared.table("project"), "namespace", here)
    if namespace and not can_be("namespace", namespace):
        what = f"'{namespace}' cannot be a namespace: expected letters, digits, '_' and '-'"
        declared.problems.add(here.at("namespace").error(what))
        return None
    return namespace or None


def _variants(
    models: Models, declared: Toml, given: Overrides, namespace: str | None, texts: Texts
) -> tuple[list[Variant], dict[str, set[str]], dict[str, Origin]]:
    """All variants, what the models may be called whose variants cannot be told, and what decides the others."""
    problems = declared.problems
    wrong = Problems()
    custom = mixes.read(declared.table("ftype"), declared.top, declared.vars, wrong)
    faults = {name: [*declared.faults.get(f"[ftype.{name}]", ()), *wrong.of(name).errors] for name in custom}
    for name, errors in faults.items():
        problems.of(f"[ftype.{name}]").add(*errors)
    around = Surroundings(texts, declared.vars, namespace, custom, faults)
    variants: list[Variant] = []
    guessed: dict[str, set[str]] = {}
    whole: list[_Expanded] = []
    for each in _expanded(models, around, given, problems):
        laid, made, _ = each
        if laid.is_all:
            variants += made
            whole.append(each)
        if not made or not laid.is_all:
            # Whatever else is FROM it by one of these words must not find what was built of it before.
            guessed[laid.model] = {*_plain_name(laid, around), *(word for each in made for word in spelled(each))}
    if not models.names and not problems:
        what = "no model: neither a [model.NAME] nor a Modelfile"
        problems.warn(Error(what, path=declared.top.file))
    if not problems and {each.model for each in variants} == set(models.names):
        # A model of which something is wrong may be what uses them.
        quantized = {each.quantize for each in variants}
        problems.warn_of_some(unused.variables(declared.document, declared.sets, declared.top))
        problems.warn_of_some(unused.mixes(custom, quantized, declared.top))
    expansion.check_names(variants, problems)
    outputs.check(variants, problems)
    pushes.check(variants, problems)
    return variants, guessed, {each.laid.model: _origin(each, models, texts) for each in whole}


def _plain_name(laid: Laid, around: Surroundings) -> Iterator[str]:
    """The name that a model says, where it is one as it stands."""
    said = laid.said.get("name")
    with suppress(Error):
        if said and isinstance(said.value, str):
            yield Name.parse(said.value, namespace=around.namespace or NAMESPACE).display().removesuffix(":latest")


def _sorted_out(
    models: Models, variants: Sequence[Variant], guessed: Mapping[str, Collection[str]], declared: Toml
) -> list[Variant | Broken]:
    """The variants, those of which something is wrong as broken ones; `guessed` is what the models may be called that have none."""
    made: dict[str, list[Variant]] = {}
    for variant in variants:
        made.setdefault(variant.model, []).append(variant)
    parts = {name: problems.errors for name, problems in declared.problems.parts.items() if problems.errors}
    found: list[Variant | Broken] = []
    for model in models.names:
        of_model = parts.get(model, [])
        if model not in made:
            errors = _ordered(of_model, declared.top)
            found.append(Broken(model, model, errors, words=guessed.get(model, ())))
        for variant in made.get(model, ()):
            errors = _ordered([*of_model, *parts.get(variant.label, ())], declared.top)
            found.append(Broken.of(variant, errors) if errors else variant)
    return found


def _beside_models(called: Iterable[Variant | Broken], declared: Toml) -> Iterator[Broken]:
    """What is wrong and is told with no model: groups, and mixes and tables that no model uses."""
    told = {error.key for each in called if isinstance(each, Broken) for error in each.errors}
    parts = {name: problems.errors for name, problems in declared.problems.parts.items()}
    for name in dict.fromkeys([*declared.faults, *parts]):
        errors = _ordered([*declared.faults.get(name, ()), *parts.get(name, ())], declared.top)
        if any(error.key not in told for error in errors) or (errors and name.startswith("[group.")):
            label = f'[model."{name}"]' if GLOB.search(name) and not name.startswith("[") else name
            # After a file a model may have been named before.
            yield Broken("", label, tuple(errors), None if name.startswith("./") else ())


def _targets(declared: Toml, called: Sequence[Variant | Broken]) -> Targets:
    """What groups and targets mean. Names that can mean nothing are refused, globs that match nothing pointed out."""
    top, problems = declared.top, declared.problems
    default = declared.strings(declared.table("project").get("default", ()), top.at("project", "default"))
    groups = {
        name: declared.strings(members, top.at("group", name)) for name, members in declared.table("group").items()
    }
    targets = Targets(groups, tuple(called), default)
    problems.warn_of_some(unused.targets(declared.table("project"), groups, top))
    # What a table says that is wrong is not in it any more.
    right = {name: table for name, table in declared.table("model").items() if name not in declared.faults}
    problems.warn_of_some(unused.glob_tables(right, top))
    lists: list[tuple[Place, Sequence[str]]] = [(top.at("project", "default"), default)]
    lists += [(top.at("group", name), members) for name, members in groups.items()]
    for here, members in lists:
        for number, member in enumerate(members):
            if not member or member in groups or targets.words.resolve(member) is not None:
                continue
            if GLOB.search(member):
                problems.warn(here.at(number).error(f"'{member}' matches nothing"))
            elif not (targets.words.untold and re.search("[:/]", member)):
                # Of a model that is wrong in itself nobody knows what its variants are called.
                concerned = part(here.key)
                found = problems if concerned is None else problems.of(concerned)
                found.add(here.at(number).placed(targets.words.unknown(member)))
    for name in groups:
        if circle := targets.circle(name):
            first = circle.index(min(circle))
            way = [*circle[first:], *circle[:first]]
            what = f"the group is a cycle: {' -> '.join([*way, way[0]])}"
            hint = "take one of them out of the other"
            problems.of(f"[group.{name}]").add(top.at("group", way[0]).error(what, hint=hint, value=False))
    return replace(targets, called=(*called, *_beside_models(called, declared)))
