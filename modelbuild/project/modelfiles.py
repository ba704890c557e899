"""The Modelfiles that a project finds, and the name that each of them gives its model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from modelbuild.errors import Error, Problems
from modelbuild.files import expand, reason
from modelbuild.project import variables
from modelbuild.project.discovery import GLOB, MODEL, Finder, name_after, telling_apart
from modelbuild.project.locate import Place
from modelbuild.project.texts import Texts
from modelbuild.project.toml import Toml
from modelbuild.words import as_text


def adopt(file: str, data: bytes, texts: Texts, *, is_named: bool) -> dict[str, str]:
    """Make a project of one Modelfile, named after it, or after its folder: model -> path. Raises Error.

    A model that is named otherwise (`is_named`) may stand in a file whose name makes no name.
    """
    name = name_after(file) or os.path.basename(texts.root)
    if not is_named and not MODEL.fullmatch(name):
        hint = f"-t names it: -t {re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.') or 'NAME'}"
        what = f"'{name}' would be the model's name, but is not a valid name"
        raise Place(texts.shown(file)).error(what, hint=hint)
    texts.take(file, data)
    return {name: file}


def discover(
    toml: Toml, finder: Finder, texts: Texts, problems: Problems, parts: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Find and parse the Modelfiles that the globs of a TOML match, less those that a table names: model -> path.

    Those in the folders of `parts` (folder, relative to the project's -> the part's name) are the parts' own.
    """
    return _Discovery(toml, finder, texts, problems, parts).found()


class _Discovery:
    def __init__(self, toml: Toml, finder: Finder, texts: Texts, problems: Problems, parts: Mapping[str, str]) -> None:
        self.toml = toml
        self.finder = finder
        self.parts = parts
        self.texts = texts
        self.problems = problems
        self.table = toml.table("project")
        self.here = toml.top.at("project")

    def found(self) -> dict[str, str]:
        paths = self._unclaimed()
        names = self._names(paths)
        declared = self.toml.table("model")
        found = {}
        for name, candidates in names.items():
            if len(candidates) > 1:
                self.problems.of(name).add(self._two_of_one_name(name, candidates, paths))
            elif "modelfile" in declared.get(name, {}):
                what = f"'{self.texts.shown(candidates[0])}' is also found by that name"
                hint = "rename one of them, or name the found one in its own table"
                self.problems.of(name).add(self.toml.top.at("model", name, "modelfile").error(what, hint=hint))
            if (part := name.partition("/")[0]) in self.parts.values():
                place = Place(self.texts.shown(candidates[0]))
                hint = "name the model in a table of its own, or the part in its [project]"
                self.problems.of(name).add(place.error(f"model '{name}' has the name of part '{part}'", hint=hint))
            found[name] = candidates[0]
        if "discover_as" in self.table and not found:
            what, hint = (
                "'discover_as' has no effect: no Modelfiles were found",
                "add globs that find them to 'modelfiles'",
            )
            self.problems.warn(self.here.at("discover_as").error(what, hint=hint, value=False))
        self.texts.parse_all(found.values(), self.here)
        return found

    def _unclaimed(self) -> list[str]:
        """The files that the globs match and no table names, in order."""
        is_said = "modelfiles" in self.table
        patterns: Sequence[str] = ("Modelfile",)
        if is_said:
            patterns = self.toml.strings(self.table["modelfiles"], self.here.at("modelfiles"))
        claimed = {path for table in self.toml.table("model").values() for path in self._named_outright(table)}
        paths: set[str] = set()
        for number, pattern in enumerate(patterns):
            place = self.here.at("modelfiles", number)
            matched: set[str] = set()
            with self.problems.at(place):
                try:
                    matched = set(self.finder.files(pattern)) if pattern else set()
                except OSError as fault:
                    what = f"'{self.texts.shown(fault.filename)}' cannot be read: {reason(fault)}"
                    raise place.error(what) from None
                if not matched and is_said:
                    self.problems.warn(place.error(f"'{pattern}' matches no file", hint=self._near(pattern)))
            own = {path for path in matched if not self._is_of_a_part(path)}
            if matched and not own:
                what = f"'{pattern}' matches only files of parts, which find their own Modelfiles"
                self.problems.warn(place.error(what, hint="remove it"))
            paths |= own - claimed
            self.texts.are_files(own)
        return sorted(paths)

    def _is_of_a_part(self, path: str) -> bool:
        return any(path.startswith(os.path.join(self.texts.root, folder, "")) for folder in self.parts)

    def _near(self, pattern: str) -> str | None:
        """A hint for a glob that begins with a folder (or is a file) that is not there."""
        from modelbuild import misspelled

        head = re.split(rf"(?:^|/)[^/]*{GLOB.pattern}", pattern)[0]
        if not head or os.path.exists(os.path.join(self.finder.root, head)):
            return None
        near = misspelled.path(head, self.finder.root, misspelled.FILE if head == pattern else misspelled.FOLDER)
        return f"did you mean '{near}{pattern[len(head) :]}'?" if near else None

    def _named_outright(self, table: Mapping[str, Any]) -> Iterator[str]:
        """The Modelfiles that a table names, for itself or for its rows."""
        axis = table.get("matrix", {}).get("modelfile", ())
        for text in (table.get("modelfile"), *(axis.values() if isinstance(axis, dict) else axis)):
            if isinstance(text, str) and text:
                try:
                    yield expand(as_text(variables.fill(text, self.toml.vars)), self.finder.root)
                except Error:  # said where the key is read
                    continue

    def _names(self, paths: Sequence[str]) -> dict[str, list[str]]:
        """Name of a model -> the files that make it."""
        template = self.toml.string(self.table, "discover_as", self.here) or "{name}"
        names: dict[str, list[str]] = {}
        for path in paths:
            name = name_after(path, template)
            shown = self.texts.shown(path)
            if name is not None and MODEL.fullmatch(name):
                names.setdefault(name, []).append(path)
            elif name is None:
                hint = "Modelfiles are named Modelfile, NAME.Modelfile or Modelfile.NAME; [model.NAME] can name any other file"
                self.problems.of(f"./{shown}").add(
                    Error("no model can be named after this file", path=shown, hint=hint)
                )
            else:
                what = f"'{name}' would be the model's name, but is not a valid name"
                hint = f"name it in a table: [model.NAME] with modelfile = {_quoted(shown)}"
                self.problems.of(f"./{shown}").add(Error(what, path=shown, hint=hint))
        return names

    def _two_of_one_name(self, name: str, found: Sequence[str], paths: Sequence[str]) -> Error:
        template = telling_apart(paths)
        hint = f'in [project]: discover_as = "{template}"'
        if template is None:
            again = _quoted(self.texts.shown(found[1]))
            hint = f"give each its own table: [model.NAME] with modelfile = {again}"
        facts = [("found", "\n".join(self.texts.shown(path) for path in found[:12]))]
        what = f"{len(found)} Modelfiles make a model '{name}'"
        return self.here.at("modelfiles").error(what, facts=facts, hint=hint)


def _quoted(text: str) -> str:
    """A text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False)
