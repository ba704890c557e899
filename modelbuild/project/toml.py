"""The ModelBuild.toml of a project, with overrides from the command line and the environment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.digest import xxh3
from modelbuild.errors import Error, Problems
from modelbuild.observed import Observed
from modelbuild.project import mixes, overrides, variables
from modelbuild.project.discovery import GLOB, MODEL
from modelbuild.project.locate import Place, part
from modelbuild.project.overrides import Overrides, Set
from modelbuild.project.variables import Scalar
from modelbuild.tuples import NamedTuple
from modelbuild.words import as_text

if TYPE_CHECKING:
    from modelbuild.project.document import Keep


class Toml(NamedTuple):
    """A checked text; empty, where a Modelfile alone makes the project.

    top        the place of the whole text
    document   what is right in it
    sets       the `--set` options that are right
    vars       the value of every variable
    malformed  models and globs of them of which nothing further should be said
    faults     what is wrong with tables of models, globs and mixes: part (see locate.part) -> errors
    problems   where is noted what cannot be filled in
    """

    top: Place
    document: Mapping[str, Any]
    sets: Sequence[Set]
    vars: Mapping[str, Scalar]
    malformed: frozenset[str]
    faults: Mapping[str, Sequence[Error]]
    problems: Problems

    def table(self, name: str) -> Mapping[str, Any]:
        """One of the text's own tables, such as [project]; empty where there is none."""
        table: Mapping[str, Any] = self.document.get(name, {})
        return table

    @property
    def mixes(self) -> tuple[str, ...]:
        """The names of the text's own mixes."""
        return mixes.names(self.document)

    def filled(self, text: str, place: Place) -> str:
        """A string with its variables filled in; "" where they cannot be."""
        concerned = part(place.key)
        problems = self.problems if concerned is None else self.problems.of(concerned)
        with problems.at(place):
            return as_text(variables.fill(text, self.vars))
        return ""

    def string(self, table: Mapping[str, Any], key: str, place: Place) -> str:
        """The string under a key of the table at `place`; "" where there is none."""
        return self.filled(table.get(key, ""), place.at(key))

    def strings(self, values: Sequence[str], place: Place) -> tuple[str, ...]:
        return tuple(self.filled(value, place.at(number)) for number, value in enumerate(values))


def decoded(data: bytes, shown: str) -> str:
    """The text of a TOML, with LF line ends. Raises Error."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        hint = "save the file as UTF-8"
        raise Error("not TOML: the text is not UTF-8", path=shown, line=line, hint=hint) from None


def read(
    top: Place, given: Overrides, observed: Observed, keep: Keep, problems: Problems, above: Toml | None = None
) -> Toml | None:
    """Check the text at `top` and the options, and settle the variables. A part has the text `above` it, which has the options.

    What is wrong goes to `problems`. None where [project] or [vars] is malformed: nothing else can be said then.
    """
    checked = _checked(top, () if above else given.sets, keep, problems, above)
    if checked is None:
        return None
    document, sets, malformed, faults = checked
    vars = _variables(top, document, given, observed, problems, above)
    return Toml(top, document, sets, vars, malformed, faults, problems)


_Checked = tuple[Mapping[str, Any], Sequence[Set], frozenset[str], Mapping[str, Sequence[Error]]]
"""The document, the `--set` options, the malformed models and the faults of tables."""


def known(digest: str, given: Overrides, keep: Keep) -> Mapping[str, Any] | None:
    """The document of a project's own text, by the text's digest; None where it was not kept, or something is wrong with it."""
    document, _, malformed, faults = _kept(_key(digest, given.sets, []), keep) or ({}, (), frozenset(), {})
    return document if document and not (malformed or faults) else None


def _key(digest: str, options: Sequence[str], around: Sequence[Sequence[str]]) -> str:
    return "project:" + xxh3("\0".join((json.dumps(around), *options, digest)).encode("utf-8", "surrogatepass"))


def _kept(key: str, keep: Keep) -> _Checked | None:
    digest, _, kept = (keep.get(key) or b"").partition(b"\n")
    if digest != xxh3(kept).encode():
        return None
    document, sets, names, spelled = json.loads(kept)
    recalled = {name: [*map(Error.recalled, errors)] for name, errors in spelled.items()}
    return document, [Set(*each) for each in sets], frozenset(names), recalled


def _checked(top: Place, options: Sequence[str], keep: Keep, problems: Problems, above: Toml | None) -> _Checked | None:
    """What is in a text, as it was kept or checked anew."""
    if not top.text and not options:
        return {}, [], frozenset(), {}
    around = [sorted(above.vars), sorted(above.mixes)] if above else []
    key = _key(xxh3(top.text.encode("utf-8", "surrogatepass")), options, around)
    if (kept := _kept(key, keep)) is not None:
        return kept
    from modelbuild.project import document

    inherited = document.Inherited(*around)
    checked = document.check(top.text, top.file, keep, inherited)
    problems.add(*checked.problems.errors)
    faults = {name: found.errors for name, found in checked.problems.parts.items() if found}
    # A type may be a mix of any part, none of which is read yet.
    custom, sets = None if "include" in checked.document.get("project", {}) else mixes.names(checked.document), []
    for option in options:
        each = None
        with problems.at(top):
            each = overrides.parse(option)
        if each is not None:
            errors = document.check_table(each.table, custom, keep)
            problems.add(*errors)
            sets += [] if errors else [each]
    if any(path[0] in ("project", "vars") for path in checked.malformed):
        for errors in faults.values():
            problems.add(*errors)
        return None
    models = checked.document.get("model", {})
    malformed = {str(path[1]) for path in checked.malformed if path[0] == "model" and len(path) > 1}
    malformed |= {name for name in models if not GLOB.search(name) and not MODEL.fullmatch(name)}
    if not problems:
        spelled = {name: [error.spelled() for error in errors] for name, errors in faults.items()}
        whole = [checked.document, sets, sorted(malformed), spelled]
        # What is wrong may be what JSON has no words for, such as a date.
        with contextlib.suppress(ValueError, TypeError):
            data = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()
            keep.put(key, xxh3(data).encode() + b"\n" + data)
    return checked.document, sets, frozenset(malformed), faults


def _variables(
    top: Place,
    document: Mapping[str, Any],
    given: Overrides,
    observed: Observed,
    problems: Problems,
    above: Toml | None,
) -> Mapping[str, Scalar]:
    """The value of every variable: `--var`, else the environment, else its default with variables filled in.

    A part has those of the text above it, and its own in their place.
    """
    declared: Mapping[str, Scalar] = document.get("vars", {})
    if above is None and "include" not in document.get("project", {}):
        problems.add(*unknown_variables(given, declared))
    around = {name: value for name, value in above.vars.items() if name not in declared} if above else {}
    overriding: dict[str, Scalar] = {}
    for name, default in declared.items():
        option = f"MODELBUILD_VAR_{name}"
        raw = observed.env(option)
        if name in given.vars:
            option, raw = f"--var {name}", given.vars[name]
        if raw is not None:
            with problems.at(Place(option)):
                overriding[name] = variables.typed(raw, default)
    settled, errors = variables.settle({**around, **declared}, {**around, **overriding})
    problems.add(*(top.at("vars", name).placed(error) for name, error in errors))
    return settled


def unknown_variables(given: Overrides, declared: Collection[str]) -> Iterator[Error]:
    """What `--var` names and nothing declares."""
    for name in given.vars:
        if name not in declared:
            yield Place(f"--var {name}").placed(variables.unknown(name, declared))


def has_key(table: object, key: str) -> bool:
    """Whether a key is in a table or in one within it, however deep."""
    todo = [table]
    while todo:
        each = todo.pop()
        if isinstance(each, Mapping):
            if key in each:
                return True
            todo += each.values()
        elif isinstance(each, list | tuple):
            todo += each
    return False
