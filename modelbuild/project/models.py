"""The models of a project, each with the merged keys of all its tables."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelbuild.errors import Error, Problems
from modelbuild.project import unused, variables
from modelbuild.project.discovery import GLOB
from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Said, Table, lay
from modelbuild.project.overrides import Overrides
from modelbuild.project.project import DEPTH_LIMIT
from modelbuild.project.texts import Texts
from modelbuild.project.toml import Toml
from modelbuild.words import as_text, did_you_mean


class Laid(NamedTuple):
    """One model, and all its keys.

    table   where it is declared: its table, else its Modelfile
    own     what its table says, without the tables below and above
    said    key -> the value on top
    on_top  the tables of `--set`, which lie over those of rows too
    is_all  whether nothing is lost: else nobody knows what the model is
    """

    model: str
    table: Place
    own: Mapping[str, Any]
    said: Mapping[str, Said]
    on_top: Sequence[Table]
    is_all: bool


class Models:
    """The models that tables name, and those that were `found`, as Modelfiles: model -> path."""

    def __init__(self, toml: Toml, found: Mapping[str, str], texts: Texts) -> None:
        self.found = found
        self._toml = toml
        self._texts = texts
        self._tables: Mapping[str, Mapping[str, Any]] = toml.table("model")
        self.names = dict.fromkeys([*(name for name in self._tables if not GLOB.search(name)), *found])

    def laid(self, given: Overrides, problems: Problems, only: Collection[str] | None = None) -> Iterator[Laid]:
        """Merge the tables of each model, or of `only` some. Errors go to the model's part of `problems`.

        From the bottom: [defaults], tables of globs, the models that it extends, its Modelfile, its table, the command line.
        """
        globs = [(_matcher(name), name, table) for name, table in self._tables.items() if GLOB.search(name)]
        sets = [(_matcher(each.pattern), each) for each in self._toml.sets]
        unmatched = {name for _, name, _ in globs}
        unset = {each.option: each for each in self._toml.sets}
        defaults = Table(self._toml.table("defaults"), self._toml.top.at("defaults"))
        common: dict[tuple[str, ...], Mapping[str, Said]] = {}
        for model in self.names if only is None else filter(only.__contains__, self.names):
            refining = {name: table for matches, name, table in globs if matches(model)}
            if (matched := tuple(refining)) not in common:
                unmatched.difference_update(matched)
                refinements = (Table(table, self._toml.top.at("model", name)) for name, table in refining.items())
                common[matched] = lay([defaults, *refinements])
            own = Problems()
            chain, names, is_all = self._chain(model, own)
            for name in (*names, *matched):
                own.add(*self._toml.faults.get(name, ()))
            if own:
                problems.of(model).take(own)
            on_top = [each for matches, each in sets if matches(model)]
            for each in on_top:
                unset.pop(each.option, None)
            own_table = self._tables.get(model, {})
            if is_all and not own and own_table.get("extends"):
                copied = (table.values for table in chain[: -len(self._own(model))])
                problems.warn(*unused.extends(own_table, copied, self._toml.top.at("model", model, "extends")))
            is_all = is_all and self._toml.malformed.isdisjoint((*names, *matched))
            tables = [each.table for each in on_top]
            said = lay([*chain, *tables, *given.tables()], common[matched])
            yield Laid(model, self._place(model), own_table, said, tables, is_all)
        if only is not None:
            return
        for name in sorted(unmatched - self._toml.malformed):
            hint = did_you_mean(name.rstrip("*"), self.names)
            problems.warn(self._toml.top.at("model", name).error("matches no model", hint=hint, value=False))
        for each in unset.values():
            is_glob = GLOB.search(each.pattern)
            what = f"matches no model: '{each.pattern}'" if is_glob else f"unknown model '{each.pattern}'"
            hint = did_you_mean(each.pattern, self.names)
            if (model := each.pattern.partition(":")[0]) != each.pattern and model in self.names:
                hint = f"a key is set for all rows of a model: --set {model}.…"
            problems.add(each.place.error(what, hint=hint))

    def _place(self, model: str) -> Place:
        if model in self._tables:
            return self._toml.top.at("model", model)
        return Place(self._texts.shown(self.found[model]))

    def chain(self, model: str) -> list[str]:
        """A model and those that it extends."""
        return self._chain(model, Problems())[1]

    def _own(self, model: str) -> list[Table]:
        """What a model says itself: the Modelfile found by its name, then its table."""
        tables = []
        if model in self.found:
            tables.append(Table({"modelfile": self.found[model]}, Place(self._texts.shown(self.found[model]))))
        if model in self._tables:
            tables.append(Table(self._tables[model], self._toml.top.at("model", model)))
        return tables

    def _chain(self, model: str, problems: Problems) -> tuple[list[Table], list[str], bool]:
        """A model's own tables over those that it extends, the models whose tables these are, and whether there are no more."""
        tables = self._own(model)
        names = [model]
        while True:
            own = self._tables.get(names[-1], {})
            if not own.get("extends"):
                return tables, names, True
            place = self._toml.top.at("model", names[-1], "extends")
            parent = ""
            with problems.at(place):
                parent = as_text(variables.fill(own["extends"], self._toml.vars))
            if parent in names:
                problems.add(self._circle(names[names.index(parent) :]))
                return tables, names, False
            if parent not in self.names:
                if parent:
                    what = f"'extends' names an unknown model: '{parent}'"
                    problems.add(place.error(what, hint=did_you_mean(parent.partition(":")[0], self.names)))
                return tables, names, False
            if len(names) > DEPTH_LIMIT:
                problems.add(place.error(f"models extend one another more than {DEPTH_LIMIT} levels deep"))
                return tables, names, False
            names.append(parent)
            tables = [*(_extended(table) for table in self._own(parent)), *tables]

    def _circle(self, names: Sequence[str]) -> Error:
        """The error for models that extend one another in a cycle, the same wherever it is entered."""
        first = names.index(next(each for each in self.names if each in names))
        circle = [*names[first:], *names[:first]]
        place = self._toml.top.at("model", circle[-1], "extends")
        return place.error(f"'extends' is a cycle: {' -> '.join([*circle, circle[0]])}")


def _extended(table: Table) -> Table:
    """What `extends` copies of a table."""
    return table._replace(values={key: value for key, value in table.values.items() if KEYS[key].extended})


def _matcher(glob: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(glob)).match
