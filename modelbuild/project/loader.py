"""Load a project: read its ModelBuild.toml or Modelfile, find its models, and say all at once that is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from modelbuild.errors import Error, Errors, Problems
from modelbuild.files import expand
from modelbuild.observed import Observed
from modelbuild.ollama.name import can_be
from modelbuild.project import expansion, mixes, modelfiles, toml, unused
from modelbuild.project.discovery import GLOB
from modelbuild.project.locate import Place
from modelbuild.project.models import Models
from modelbuild.project.overrides import Overrides
from modelbuild.project.project import Project
from modelbuild.project.row import Surroundings
from modelbuild.project.targets import Targets
from modelbuild.project.texts import Texts
from modelbuild.project.toml import Toml
from modelbuild.project.variant import Variant

if TYPE_CHECKING:
    from modelbuild.project.document import Keep


def load(file: str, *, observed: Observed, keep: Keep, given: Overrides | None = None) -> Project:
    """Read a ModelBuild.toml, or a Modelfile as a project of one model; `file` is absolute.

    Raises Errors with everything that is wrong with the project, ordered by place, or Error.
    """
    given, problems = given or Overrides(), Problems()
    texts = Texts(os.path.dirname(file), observed, problems)
    data, shown = texts.read(file), texts.shown(file)
    is_toml = file.endswith(".toml")
    if is_toml:
        _refuse_options_of_modelfiles(given, shown)
    top = Place(shown, _decoded(data, shown) if is_toml else "")
    declared = toml.read(top, given, observed, keep, problems)
    if declared is None:
        raise Errors(_ordered(problems.errors, top))
    folder, namespace = _models_folder(declared, texts), _namespace(declared)
    if is_toml:
        found = modelfiles.discover(declared, folder, texts, observed, problems)
    else:
        found = modelfiles.adopt(file, data, texts, is_named=given.name is not None)
    variants = _variants(Models(declared, found, texts), declared, given, namespace, texts)
    targets = _targets(declared, variants, {*declared.table("model"), *found})
    name = declared.string(declared.table("project"), "name", top.at("project"))
    if problems:
        raise Errors(_ordered(problems.errors, top))
    warnings = tuple(_ordered(problems.warnings, top))
    return Project(texts.root, file, name or None, namespace, folder, targets, warnings)


def _refuse_options_of_modelfiles(given: Overrides, shown: str) -> None:
    if given.name or given.quantize:
        option = "-t" if given.name else "-q"
        hint = "-f FILE names the Modelfile; in a ModelBuild.toml use `name`, `tag` and `quantize`"
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
    once = {(each.path, each.line, each.column, each.what): each for each in errors}
    return sorted(once.values(), key=lambda e: (e.path != top.file, e.path or "", e.line or 0, e.column or 0))


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
) -> tuple[Variant, ...]:
    problems = declared.problems
    custom = mixes.read(declared.table("ftype"), declared.top, declared.vars, problems)
    around = Surroundings(texts, declared.vars, namespace, custom)
    variants = [
        variant
        for laid in models.laid(given, problems)
        for variant in expansion.expand(laid, around, models.found, problems)
    ]
    if not models.names and not problems:
        what = "no model: neither a [model.NAME] nor a Modelfile"
        problems.warn(Error(what, path=declared.top.file))
    if not problems and {each.model for each in variants} == set(models.names):
        # A model of which something is wrong may be what uses them.
        quantized = {each.quantize for each in variants}
        problems.warn(*unused.variables(declared.document, declared.sets, declared.top))
        problems.warn(*unused.mixes(custom, quantized, declared.top))
    expansion.check_names(variants, problems)
    return tuple(variants)


def _targets(declared: Toml, variants: tuple[Variant, ...], models: Collection[str]) -> Targets:
    """What groups and targets mean. Names that can mean nothing are refused, globs that match nothing pointed out."""
    top, problems = declared.top, declared.problems
    default = declared.strings(declared.table("project").get("default", ()), top.at("project", "default"))
    groups = {
        name: declared.strings(members, top.at("group", name)) for name, members in declared.table("group").items()
    }
    targets = Targets(groups, variants, default)
    problems.warn(*unused.targets(declared.table("project"), groups, top))
    problems.warn(*unused.glob_tables(declared.table("model"), top))
    lists: list[tuple[Place, Sequence[str]]] = [(top.at("project", "default"), default)]
    lists += [(top.at("group", name), members) for name, members in groups.items()]
    for here, members in lists:
        for number, member in enumerate(members):
            if not member or member in groups or targets.words.resolve(member) is not None:
                continue
            if GLOB.search(member):
                problems.warn(here.at(number).error(f"'{member}' matches nothing"))
            elif member not in models and not (problems and re.search("[:/]", member)):
                # Of a model that is wrong in itself nobody knows what its variants are called.
                problems.add(here.at(number).placed(targets.words.unknown(member)))
    for name in groups:
        circle = targets.circle(name)
        if circle and name == min(circle):
            what = f"the group is a cycle: {' -> '.join([*circle, name])}"
            problems.add(top.at("group", name).error(what, hint="take one of them out of the other", value=False))
    return targets
