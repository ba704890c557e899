"""The text of a ModelBuild.toml alone: parsed, and checked as far as this is possible without variables."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from modelbuild import words
from modelbuild.digest import canonical, xxh3
from modelbuild.errors import Error, Problems
from modelbuild.ollama.modelfile.parameters import PARAMETERS
from modelbuild.project import mixes, variables
from modelbuild.project.discovery import GLOB, WORD
from modelbuild.project.keys import KEYS, axis_of
from modelbuild.project.locate import At, Path, Place, part
from modelbuild.project.overlay import Table
from modelbuild.tensors import ftypes
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.project.schema import Whole

DISCOVER_AS = re.compile(r"\{(name|folder|parent)\}")

LENGTH_LIMIT = 4_000_000
"""Characters of a text, which take a few seconds to parse; a project of a thousand models has some 200 thousand."""
NESTING_LIMIT = 100
"""Tables and lists within one another, of which dotted keys make thousands in a line."""
_TOO_DEEP = "lists or tables are nested too deeply"


class Keep(Protocol):
    """Where is kept what was checked, so that it needs no checking again."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...


class Inherited(NamedTuple):
    """What a part may name and the project around it declares: variables and mixes."""

    vars: Sequence[str] = ()
    mixes: Sequence[str] = ()


class Checked(NamedTuple):
    """What is left of a text once everything malformed is taken out.

    document   the TOML as tomllib reads it
    problems   all that is wrong with the text taken by itself; what concerns one table of models, mixes or groups alone is a part
    malformed  tables that lost something, for which nothing further should be said
    """

    document: dict[str, Any]
    problems: Problems
    malformed: frozenset[Path]


NONE = Inherited()


def check(text: str, file: str, keep: Keep, inherited: Inherited = NONE) -> Checked:
    """Parse and check a TOML text with LF line ends. Raises Error where it is not TOML."""
    document = _parse(text, file)
    root = Place(file, text)
    shapes = _Shapes(keep)
    errors, malformed = shapes.faults("document", document, root.at)
    problems = Problems()
    for error, loc in zip(errors, malformed, strict=True):
        _of(problems, loc).add(error)
    for loc in malformed:
        _prune(document, loc)
    values = _Values((*mixes.names(document), *inherited.mixes), shapes, problems)
    values.document(document, root, inherited.vars)
    # A key that is an axis somewhere may name a label of it elsewhere.
    axes = {axis for each in document.get("model", {}).values() for axis in each.get("matrix", {})}
    for name in document.get("model", {}):
        found = values.rows(name, document["model"][name], axes, root)
        if found:
            problems.of(name).take(found)
            malformed.append(("model", name))
            for key in ("matrix", "include", "exclude", "default"):
                document["model"][name].pop(key, None)
    return Checked(document, problems, frozenset(malformed))


def _of(problems: Problems, path: Path) -> Problems:
    """Where is noted what is wrong at a path of the text."""
    concerned = part(path)
    return problems if concerned is None else problems.of(concerned)


def check_table(table: Table, mixes: Sequence[str] | None, keep: Keep) -> list[Error]:
    """Check keys of a model that stand outside of the text; `mixes` are the names of the text's own, None where they are unknown."""
    values = _Values(mixes, _Shapes(keep), Problems())
    values.whole(table.values, table.place.at)
    return values.problems.errors


class _Shapes:
    """Checks shapes. One that was right before is right again: importing pydantic takes longer than all else of a small build."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def faults(self, whole: Whole, value: Any, at: At) -> tuple[list[Error], list[Path]]:
        """What is wrong with the shape, and where in `value`."""
        try:
            key = "shape:" + xxh3(canonical([whole, shape(value)]))
        except Error as error:
            raise at().placed(error) from None
        if self._keep.get(key) == _RIGHT:
            return [], []
        from modelbuild.project import schema

        errors, paths = schema.faults(whole, value, at)
        if not errors:
            self._keep.put(key, _RIGHT)
        return errors, paths


_RIGHT = b"right"


def shape(value: Any, depth: int = 0) -> Any:
    """All of a value that `schema` looks at: keys, kinds, whether a string is empty and a number finite. Encodes as JSON."""
    if depth > NESTING_LIMIT:
        raise Error(_TOO_DEEP)
    if isinstance(value, str):
        return "text" if value else ""
    if isinstance(value, dict):
        return {key: shape(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    return type(value).__name__


def _parse(text: str, file: str) -> dict[str, Any]:
    if len(text) > LENGTH_LIMIT:
        raise Error(
            f"is {len(text):,} characters long, expected at most {LENGTH_LIMIT:,}",
            path=file,
            hint='put long texts in their own files: system = { file = "…" }',
        )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Error(_TOO_DEEP, path=file) from None
    except ValueError as fault:
        if long := re.search(rf"(?<!\w)\d[\d_]{{{DIGITS},}}", text):
            raise _too_long(text, long.start(), file) from None
        what, line, column = str(fault), None, None
        if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", what, re.DOTALL):
            what, line, column = found[1], int(found[2]), int(found[3])
        elif found := re.fullmatch(r"(.*) \(at end of document\)", what, re.DOTALL):
            what, line = f"{found[1]} at the end of the file", text.count("\n") + (not text.endswith("\n"))
        if line is None:
            raise Error(f"not TOML: {what}", path=file) from None
        source = text.split("\n")[line - 1]
        column = min(column or len(source) + 1, len(source) + 1)
        hint = _toml_hint(what, source, column)
        what = re.sub(r"\('(.*?)',?\)", lambda found: f"'{found[1].replace(_BETWEEN_KEYS, '.')}'", what)
        what = f"not TOML: {what[:1].lower()}{what[1:]}"
        raise Error(what, path=file, line=line, column=column, source=source, hint=hint) from None


DIGITS = 4300
"""Of a number that Python reads."""

_BETWEEN_KEYS = "', '"


def _too_long(text: str, start: int, file: str) -> Error:
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    what = f"a number has more than {DIGITS:,} digits"
    return Error(what, path=file, line=line, column=column, hint="strings need quotes")


def _toml_hint(what: str, source: str, column: int) -> str | None:
    if what == "Invalid value" and (re.search(r"=\s*[A-Za-z]", source) or source[column - 1 : column].isalpha()):
        return "strings need quotes"
    if what.startswith("Illegal character '\\n'"):
        return "a string ends on its line, with the quote that began it; a longer one needs three quotes"
    if what.startswith("Unescaped '\\'"):
        return "in single quotes a backslash is literal: 'C:\\models'"
    if "twice" in what or "overwrite" in what:
        return "each key and each table may be defined only once"
    return None


def _prune(document: dict[str, Any], loc: Path) -> None:
    depth = 3 if loc[0] in ("model", "ftype") else 2
    table: Any = document
    for key in loc[: min(depth, len(loc)) - 1]:
        table = table.get(key) if isinstance(table, dict) else None
    if isinstance(table, dict):
        table.pop(loc[min(depth, len(loc)) - 1], None)
        named = len(loc) == 2 or loc[0] == "group"
        if loc[0] in ("model", "ftype", "group") and named and len(loc) > 1:
            # What it is called stays known.
            table[str(loc[1])] = [] if loc[0] == "group" else {}


class _Values:
    """Checks what no shape can say. What is wrong goes to `problems`; `mixes` are the names of the text's own."""

    def __init__(self, mixes: Sequence[str] | None, shapes: _Shapes, problems: Problems) -> None:
        self.problems = problems
        self._mixes = mixes
        self._shapes = shapes

    def _of(self, *path: str) -> _Values:
        """The same for one table."""
        return _Values(self._mixes, self._shapes, _of(self.problems, path))

    def document(self, document: Mapping[str, Any], root: Place, inherited: Sequence[str]) -> None:
        declared = document.get("vars", {})
        self._references(document, [*declared, *inherited], root)
        for name, value in declared.items():
            self._variable(name, value, root.at("vars", name))
        discover_as = document.get("project", {}).get("discover_as", "{name}")
        if re.search(r"[{}]", DISCOVER_AS.sub("", discover_as)) or not DISCOVER_AS.search(discover_as):
            what = "'discover_as' expects some of {name}, {folder} and {parent}, got " + words.got(discover_as)
            if "${" not in discover_as:
                self.problems.add(root.at("project", "discover_as").error(what))
        for name, table in document.get("ftype", {}).items():
            self._of("ftype", name)._ftype(name, table, root.at("ftype", name))
        for name in document.get("group", {}):
            if not WORD.fullmatch(name):
                what = f"'{name}' cannot name a group: expected letters, digits, '_', '-' and '.'"
                self._of("group", name).problems.add(root.at("group", name).error(what, value=False))
        self.table(document.get("defaults", {}), root.at("defaults").at)
        for name, table in document.get("model", {}).items():
            values = self._of("model", name)
            values.table(table, root.at("model", name).at)
            values._model(name, table, root.at("model", name))
        self._unshaped(document, root)

    def _unshaped(self, document: Mapping[str, Any], root: Place) -> None:
        """What stands where any key may stand is of no shape; still, it is kept as JSON, which has no such numbers."""
        for path, value in _leaves(document):
            if isinstance(value, float) and not math.isfinite(value):
                found = _of(self.problems, path)
                if not any(error.line == root.at(*path).position()[0] for error in found.errors):
                    found.add(root.at(*path).error(f"'{path[-1]}' expects a finite number, got {value}"))

    def _references(self, document: Mapping[str, Any], declared: Sequence[str], root: Place) -> None:
        for path, text in _leaves(document):
            if not isinstance(text, str) or "${" not in text:
                continue
            with _of(self.problems, path).at(root.at(*path)):
                # A `${matrix.…}` is looked up per row.
                for part in variables.parts(text):
                    if isinstance(part, variables.Reference) and "." not in part.name and part.name not in declared:
                        raise variables.unknown(part.name, declared)

    def _variable(self, name: str, value: Any, here: Place) -> None:
        if not variables.NAME.fullmatch(name) or name == "matrix":
            what = f"'{name}' cannot name a variable"
            why = ": '${matrix.AXIS}' belongs to a row" if name == "matrix" else ": expected letters, digits and '_'"
            self.problems.add(here.error(what + why, value=False))
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.add(here.error(f"'{name}' expects a finite number, got {value}"))

    def _ftype(self, name: str, table: Mapping[str, Any], here: Place) -> None:
        if not WORD.fullmatch(name):
            what = f"'{name}' cannot name a mix: expected letters, digits, '_', '-' and '.'"
            self.problems.add(here.error(what, value=False))
        elif ftypes.canonical(name) or name.casefold() == "none":
            hint = "give the mix another name"
            self.problems.add(here.error(f"'{name}' is already a type", hint=hint, value=False))
        for pattern in table.get("tensors", {}):
            try:
                mixes.check_pattern(pattern)
            except Error as error:
                self.problems.add(here.at("tensors", pattern).error(error.what, value=False))

    def _model(self, name: str, table: Mapping[str, Any], here: Place) -> None:
        if GLOB.search(name):
            for key in table:
                if KEYS[key].widest == "model":
                    what = f"a glob table refines models and cannot have '{key}'"
                    self.problems.add(here.at(key).error(what, value=False))
        elif not all(WORD.fullmatch(part) for part in name.split("/")):
            what = f"'{name}' cannot name a model: expected letters, digits, '_', '-' and '.'"
            self.problems.add(here.error(what, value=False))

    def rows(self, name: str, table: Mapping[str, Any], axes: Collection[str], root: Place) -> Problems:
        """What is wrong with the values of a model's axes, and with keys that `include` adds to rows; `axes` are all models'."""
        values = _Values(self._mixes, self._shapes, Problems())
        here = root.at("model", name)
        for axis, of_axis in table.get("matrix", {}).items():
            for label, value in of_axis.items() if isinstance(of_axis, dict) else enumerate(of_axis):
                values._axis(axis, value, here.at("matrix", axis, label))
        for number, entry in enumerate(table.get("include", ())):
            extra = {key: value for key, value in entry.items() if key in KEYS and key not in axes}
            values.whole(extra, here.at("include", number).at)
        return values.problems

    def _axis(self, axis: str, value: Any, place: Place) -> None:
        if axis == "parameters" and place.key and place.key[-1] in PARAMETERS and isinstance(value, list):
            what, label = "'parameters' expects a table for each label, got a list", str(place.key[-1])
            hint = f"make the parameter an axis: {label} = {axis_of(value)}"
            self.problems.add(place.error(what, hint=hint))
        elif axis in KEYS:
            self.whole({axis: value}, lambda *keys: place.at(*keys[1:]))
        elif axis in PARAMETERS:
            self.whole({"parameters": {axis: value}}, lambda *keys: place.at(*keys[2:]))
        elif not isinstance(value, variables.Scalar) or (isinstance(value, float) and not math.isfinite(value)):
            expected = "a string, a number, true or false"
            what = f"a value of axis '{axis}' expects {expected}, got {words.got(value)}"
            self.problems.add(place.error(what))

    def whole(self, table: Mapping[str, Any], at: At) -> None:
        """Check keys of a model: their shapes, and where these are right the values."""
        errors, _ = self._shapes.faults("model", table, at)
        if errors:
            self.problems.add(*errors)
        else:
            self.table(table, at)

    def table(self, table: Mapping[str, Any], at: At) -> None:
        """Check the values of keys of a model that hold no `${…}`: those are checked once they are filled in."""
        for name, raw in table.items():
            key = KEYS[name]
            for path, value, check in key.checked(raw, self._mixes):
                if not _waits(value):
                    with self.problems.at(at(name, *path)):
                        check(value)


def _waits(value: Any) -> bool:
    """Whether a value holds variables."""
    return any(map(variables.has_references, value if isinstance(value, list) else (value,)))


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, (*path, number))
    else:
        yield path, value
