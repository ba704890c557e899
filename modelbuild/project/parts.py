"""The parts of a project: its own text, and those that it includes, read and named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modelbuild.errors import Error, Errors, Problems
from modelbuild.files import reason
from modelbuild.ollama.name import can_be
from modelbuild.project import included, modelfiles, toml
from modelbuild.project.broken import Broken
from modelbuild.project.discovery import GLOB, WORD, Finder
from modelbuild.project.locate import Place
from modelbuild.project.overrides import Overrides
from modelbuild.project.texts import Texts
from modelbuild.project.toml import Toml
from modelbuild.project.variant import Variant, part_of
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.project.document import Keep


class Part(NamedTuple):
    """One text of a project, and the Modelfiles that it finds: model -> path.

    name       "" for the project's own text
    namespace  of names that have none
    is_owner   whether somebody declared the namespace: else it is the part's name, which is nobody's in a registry
    """

    name: str
    toml: Toml
    found: Mapping[str, str]
    namespace: str | None
    is_owner: bool = True

    @property
    def top(self) -> Place:
        return self.toml.top

    def address(self, word: str) -> str:
        """What a word of the part is in the whole project, also one of `locate.part`."""
        if not self.name or word.startswith("./"):
            return word
        table, dot, name = word.partition(".")
        return f"{table}.{self.name}/{name}" if word.startswith("[") and dot else f"{self.name}/{word}"

    def addressed(self, variant: Variant, folders: Mapping[str, str]) -> Variant:
        """A variant that is called as in the whole project. `folders` are those of parts, with the parts' names.

        A FROM looks in the part first in whose folder it is written, whichever model it has come to.
        """
        if not folders:
            return variant
        froms = tuple(line._replace(part=part_of(line.place.file, folders)) for line in variant.froms)
        return variant._replace(
            model=self.address(variant.model), label=self.address(variant.label), froms=froms, folders=folders
        )


class Included(NamedTuple):
    """The parts that a project includes, those of which something is wrong, and the name of each file's part."""

    parts: Sequence[Part]
    broken: Sequence[Broken]
    names: Mapping[str, str]

    @property
    def folders(self) -> Mapping[str, str]:
        """The folders of all parts, relative to the project's, and the parts' names."""
        return {os.path.dirname(file): name for file, name in self.names.items()}


def namespace(declared: Toml) -> str | None:
    """The namespace of a text's own; what cannot be one goes to its problems."""
    here = declared.top.at("project")
    said = declared.string(declared.table("project"), "namespace", here)
    if said and not can_be("namespace", said):
        what = f"'{said}' cannot be a namespace: expected letters, digits, '_' and '-'"
        declared.problems.add(here.at("namespace").error(what))
        return None
    return said or None


class Reading:
    """Reads the parts of a project. `models` is its models folder."""

    def __init__(
        self, own: Toml, namespace: str | None, models: str | None, given: Overrides, texts: Texts, keep: Keep
    ) -> None:
        self._own = own
        self._namespace = namespace
        self._models = models
        self._given = given
        self._texts = texts
        self._observed = texts.observed
        self._keep = keep

    def included(self, problems: Problems) -> Included:
        """All parts, in the order of their files. What is wrong with one breaks that part alone."""
        parts: list[Part] = []
        wrong: dict[str, list[Error]] = {}
        names: dict[str, str] = {}
        for file in self._files(problems):
            shown, own = self._texts.shown(file), Problems()
            name, part = self._read(file, own)
            names[shown] = name
            if part is not None and not own.errors:
                parts.append(part)
            else:
                wrong.setdefault(name, []).extend(own.errors)
        files: dict[str, list[str]] = {}
        for file, name in names.items():
            files.setdefault(name, []).append(file)
        for name, same in files.items():
            if len(same) > 1:
                wrong.setdefault(name, []).append(self._of_one_name(name, same))
        parts = [part for part in parts if part.name not in wrong]
        taken = self._taken()
        for part in [part for part in parts if part.name in taken]:
            parts.remove(part)
            what = f"part '{part.name}' has the name of {taken[part.name]} in {self._own.top.file}"
            wrong[part.name] = [_named(part).error(what, hint=_NAME_IT)]
        # What else means something, or is no word, cannot stand for the part.
        words = {name for name in wrong if name not in taken and WORD.fullmatch(name)}
        called = {name: name if name in words else files[name][0] for name in wrong}
        broken = []
        for name, errors in wrong.items():
            if name in words and len(files[name]) > 1:
                broken += [_broken(file, errors, (name, f"{name}/")) for file in files[name]]
            else:
                broken.append(_broken(called[name], errors, (f"{name}/",) if name in words else ()))
        if not broken:
            known = {name for each in (self._own, *(part.toml for part in parts)) for name in each.table("vars")}
            problems.add(*toml.unknown_variables(self._given, known))
        return Included(parts, broken, {file: called.get(name, name) for file, name in names.items()})

    def _of_one_name(self, name: str, files: Sequence[str]) -> Error:
        facts = [("parts", "\n".join(files if len(files) <= 8 else [*files[:7], f"… {len(files) - 7} more"]))]
        hint = 'give each a name of its own: [project] name = "…"'
        return self._own.top.at("project", "include").error(
            f"{len(files)} parts are named '{name}'", facts=facts, hint=hint
        )

    def _files(self, problems: Problems) -> list[str]:
        """The files that the globs take, each once, by folder."""
        here = self._own.top.at("project", "include")
        found: dict[str, None] = {}
        globs = self._own.table("project")["include"]
        if not globs:
            problems.warn(here.error("'include' is empty", hint="name a glob, or remove it", value=False))
        for number, glob in enumerate(globs):
            place = here.at(number)
            with problems.at(place):
                try:
                    files = list(included.files(included.parse(glob), self._texts.root, self._models, self._observed))
                except OSError as fault:
                    what = f"'{self._texts.shown(fault.filename)}' cannot be read: {reason(fault)}"
                    raise place.error(what) from None
                if not files:
                    hint = "this file is the project itself" if glob.strip("./") == "ModelBuild.toml" else None
                    problems.warn(place.error(f"'{glob}' matches no file", hint=hint))
                elif found.keys() >= set(files):
                    what = f"'{glob}' has no effect: the globs before it match the same files"
                    problems.warn(place.error(what, hint="remove it"))
                found.update(dict.fromkeys(files))
            if len(found) > included.PARTS:
                what = f"'include' matches {len(found):,} files, expected at most {included.PARTS:,}"
                problems.add(here.error(what))
                return []
        return sorted(found)

    def _read(self, file: str, problems: Problems) -> tuple[str, Part | None]:
        """The same with the Modelfiles that the part finds."""
        name, part = self.text(file, problems)
        if part is None:
            return name, None
        finder = Finder(os.path.dirname(file), self._models, self._observed)
        return name, part._replace(found=modelfiles.discover(part.toml, finder, self._texts, problems))

    def text(self, file: str, problems: Problems) -> tuple[str, Part | None]:
        """The name of a part, which is that of its folder where it says none; and the part, None where it cannot be read."""
        shown, folder = self._texts.shown(file), os.path.dirname(file)
        name, declared = os.path.basename(folder), None
        try:
            top = Place(shown, toml.decoded(self._texts.read(file), shown))
            declared = toml.read(top, self._given, self._observed, self._keep, problems, above=self._own)
        except (Error, Errors) as fault:
            problems.add(*(Place(shown).placed(error) for error in fault.errors))
        if declared is None:
            return name, None
        here, table = declared.top.at("project"), declared.table("project")
        name = declared.string(table, "name", here) or name
        if not WORD.fullmatch(name):
            what = f"'{name}' cannot name a part: expected letters, digits, '_', '-' and '.'"
            place, hint = (here.at("name"), None) if table.get("name") else (declared.top, _NAME_IT)
            problems.add(place.error(what, hint=hint))
        for key, hint in _OF_PROJECTS.items():
            if key in table:
                problems.add(here.at(key).error(f"'{key}' has no effect in a part", hint=hint, value=False))
        if "cache" in declared.document:
            hint = "the remote cache is the project's: set it in the project's own file"
            problems.add(declared.top.at("cache").error("[cache] has no effect in a part", hint=hint, value=False))
        owned = namespace(declared) or self._namespace
        said = owned or name
        if not can_be("namespace", said) and WORD.fullmatch(name):
            what = f"'{name}' cannot be the namespace of the part's names: expected letters, digits, '_' and '-'"
            problems.add(Place(shown).error(what, hint=f'set another one: [project] namespace = "…" in {shown}'))
        return name, None if problems.errors else Part(name, declared, {}, said, owned is not None)

    def _taken(self) -> dict[str, str]:
        """How words of the project's own text begin, with one of them: 'acme' of the model 'acme/chat'."""
        words = [(table, word) for table in ("group", "model") for word in self._own.table(table)]
        return {word.partition("/")[0]: f"{table} '{word}'" for table, word in words if not GLOB.search(word)}


_NAME_IT = 'give the part another name: [project] name = "…"'
_OF_PROJECTS = {
    "include": "a part includes no others: add its glob to the project's own file",
    "models": "the models folder is the project's: set it in the project's own file",
}
"""Keys of [project] that a part cannot have, and what to do instead."""


def _named(part: Part) -> Place:
    """Where a part gets its name."""
    return part.top.at("project", "name") if part.toml.table("project").get("name") else Place(part.top.file)


def _broken(label: str, errors: Sequence[Error], words: Sequence[str]) -> Broken:
    """What stands for all models of a part, which nobody knows; `words` are what these may begin with, if that is not something else."""
    ordered = sorted(errors, key=lambda e: (e.path or "", e.line or 0, e.column or 0))
    return Broken(label, label, ordered, words=words) if words else Broken("", label, ordered)
