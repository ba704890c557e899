"""The models of a project, each with the merged keys of all its tables."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

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
from modelbuild.tuples import NamedTuple
from modelbuild.words import as_text, did_you_mean, did_you_mean_within


class Laid(NamedTuple):
    """One model, and all its keys.

    table   where it is declared: its table, else its Modelfile
    own     what its table says, without the tables below and above
    said    key -> the value on top
    on_top  the tables of `--set`, which lie over those of rows too
    is_all  whether nothing is lost: else nobody knows what the model is
    parts   other parts of the project whose tables it extends, the nearest first
    """

    model: str
    table: Place
    own: Mapping[str, Any]
    said: Mapping[str, Said]
    on_top: Sequence[Table]
    is_all: bool
    parts: Sequence[str] = ()


class Models:
    """The models that tables of one text name, and those that were `found`, as Modelfiles: model -> path.

    part    the part of the project whose text it is; "" for the project's own
    family  the models of all parts by part, of the project's own text first; this one adds itself
    broken  what is wrong with the parts that are not among them
    """

    def __init__(
        self,
        toml: Toml,
        found: Mapping[str, str],
        texts: Texts,
        part: str = "",
        family: dict[str, Models] | None = None,
        broken: Mapping[str, Sequence[Error]] = MappingProxyType({}),
    ) -> None:
        self.found = found
        self.part = part
        self._toml = toml
        self._texts = texts
        self._family = {} if family is None else family
        self._family[part] = self
        self._broken = broken
        self._tables: Mapping[str, Mapping[str, Any]] = toml.table("model")
        self.names = dict.fromkeys([*(name for name in self._tables if not GLOB.search(name)), *found])
        self._globs = [(_matcher(name), name) for name in self._tables if GLOB.search(name)]
        self._sets = [(_matcher(each.pattern), each) for each in toml.sets]
        self._unmatched = {name for _, name in self._globs}
        self._unset = {each.option: each for each in toml.sets}

    def address(self, model: str) -> str:
        """What a model is called in the whole project."""
        return f"{self.part}/{model}" if self.part else model

    @property
    def _above(self) -> Models:
        """Those of the project's own text."""
        return next(iter(self._family.values()))

    def laid(self, given: Overrides, problems: Problems, only: Collection[str] | None = None) -> Iterator[Laid]:
        """Merge the tables of each model, or of `only` some. Errors go to the model's part of `problems`.

        From the bottom: [defaults], tables of globs, the models that it extends, its Modelfile, its table, the command line.
        Those of the project's own text lie below those of a part.
        """
        around = list(dict.fromkeys((self._above, self)))
        defaults = [Table(each._toml.table("defaults"), each._toml.top.at("defaults")) for each in around]
        common: dict[tuple[_Link, ...], Mapping[str, Said]] = {}
        for model in self.names if only is None else filter(only.__contains__, self.names):
            address = self.address(model)
            names = {each: model if each is self else address for each in around}
            matched = tuple(
                _Link(each, glob) for each in around for matches, glob in each._globs if matches(names[each])
            )
            if matched not in common:
                common[matched] = lay([*defaults, *(each.models._table(each.name) for each in matched)])
                for each in matched:
                    each.models._unmatched.discard(each.name)
            own = Problems()
            chain, links, is_all = self._chain(model, own)
            for each in (*links, *matched):
                own.add(*each.models._toml.faults.get(each.name, ()))
            if own:
                problems.of(model).take(own)
            on_top = [each for matches, each in self._above._sets if matches(address)]
            for each_set in on_top:
                self._above._unset.pop(each_set.option, None)
            own_table = self._tables.get(model, {})
            if is_all and not own and own_table.get("extends"):
                copied = (table.values for table in chain[: -len(self._own(model))])
                problems.warn(*unused.extends(own_table, copied, self._toml.top.at("model", model, "extends")))
            is_all = is_all and not any(each.name in each.models._toml.malformed for each in (*links, *matched))
            tables = [each.table for each in on_top]
            said = lay([*chain, *tables, *given.tables()], common[matched])
            parts = [part for part in dict.fromkeys(each.models.part for each in links) if part != self.part]
            yield Laid(model, self._place(model), own_table, said, tables, is_all, parts)

    def tell_unmatched(self, problems: Problems) -> None:
        """Point out the globs, and the `--set` options, that match no model; after the models of all parts are laid."""
        for name in sorted(self._unmatched - self._toml.malformed):
            if name.partition("/")[0] in self._broken:
                continue
            hint = did_you_mean(name.rstrip("*"), self.names if self.part else self._everywhere())
            problems.warn(self._toml.top.at("model", name).error("matches no model", hint=hint, value=False))
        everywhere = self._everywhere() if self._unset else []
        for each in self._unset.values():
            if each.pattern.partition("/")[0] in self._broken:
                continue
            is_glob = GLOB.search(each.pattern)
            what = f"matches no model: '{each.pattern}'" if is_glob else f"unknown model '{each.pattern}'"
            hint = did_you_mean_within(each.pattern, everywhere)
            if (model := each.pattern.partition(":")[0]) != each.pattern and model in everywhere:
                hint = f"a key is set for all rows of a model: --set {model}.…"
            problems.add(each.place.error(what, hint=hint))

    def _everywhere(self) -> list[str]:
        """The models of all parts, as the whole project calls them."""
        return [each.address(name) for each in self._family.values() for name in each.names]

    def _place(self, model: str) -> Place:
        if model in self._tables:
            return self._toml.top.at("model", model)
        return Place(self._texts.shown(self.found[model]))

    def modelfiles(self, model: str) -> dict[str, str]:
        """The Modelfiles that were found for a model and for those that it extends, as the whole project calls them."""
        _, links, _ = self._chain(model, Problems())
        return {
            link.models.address(link.name): link.models.found[link.name]
            for link in links
            if link.name in link.models.found
        }

    def _table(self, name: str) -> Table:
        return Table(self._tables[name], self._toml.top.at("model", name))

    def _own(self, model: str) -> list[Table]:
        """What a model says itself: the Modelfile found by its name, then its table."""
        tables = []
        if model in self.found:
            tables.append(Table({"modelfile": self.found[model]}, Place(self._texts.shown(self.found[model]))))
        if model in self._tables:
            tables.append(self._table(model))
        return tables

    def _chain(self, model: str, problems: Problems) -> tuple[list[Table], list[_Link], bool]:
        """A model's own tables over those that it extends, the models whose tables these are, and whether there are no more."""
        tables = self._own(model)
        links = [_Link(self, model)]
        while True:
            at, name = links[-1]
            own = at._tables.get(name, {})
            if not own.get("extends"):
                return tables, links, True
            place = at._toml.top.at("model", name, "extends")
            parent = ""
            with problems.at(place):
                parent = as_text(variables.fill(own["extends"], at._toml.vars))
            link = at._named(parent)
            if link in links:
                problems.add(self._circle(links[links.index(link) :]))
                return tables, links, False
            if link is None:
                if errors := self._broken.get(parent.partition("/")[0]):
                    problems.add(*errors)
                elif parent:
                    what = f"'extends' names an unknown model: '{parent}'"
                    problems.add(place.error(what, hint=at._meant(parent.partition(":")[0])))
                return tables, links, False
            if len(links) > DEPTH_LIMIT:
                problems.add(place.error(f"models extend one another more than {DEPTH_LIMIT} levels deep"))
                return tables, links, False
            links.append(link)
            tables = [*(_extended(table) for table in link.models._own(link.name)), *tables]

    def _named(self, text: str) -> _Link | None:
        """The model that a word of this text means: one of its own, else one of the whole project."""
        part, _, model = text.partition("/")
        other = self._family.get(part)
        if text in self.names:
            return _Link(self, text)
        if other and part and model in other.names:
            return _Link(other, model)
        return _Link(self._above, text) if text in self._above.names else None

    def _meant(self, text: str) -> str | None:
        return did_you_mean(text, self.names) or did_you_mean_within(text, self._everywhere())

    def _circle(self, links: Sequence[_Link]) -> Error:
        """The error for models that extend one another in a cycle, the same wherever it is entered."""
        everywhere = (_Link(each, name) for each in self._family.values() for name in each.names)
        first = links.index(next(each for each in everywhere if each in links))
        circle = [*links[first:], *links[:first]]
        last = circle[-1]
        names = [each.models.address(each.name) for each in [*circle, circle[0]]]
        if len({each.models for each in circle}) == 1:
            names = [each.name for each in [*circle, circle[0]]]
        place = last.models._toml.top.at("model", last.name, "extends")
        return place.error(f"'extends' is a cycle: {' -> '.join(names)}")


class _Link(NamedTuple):
    """A table of a text, by its name."""

    models: Models
    name: str


def _extended(table: Table) -> Table:
    """What `extends` copies of a table."""
    return table._replace(values={key: value for key, value in table.values.items() if KEYS[key].extended})


def _matcher(glob: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(glob)).match
