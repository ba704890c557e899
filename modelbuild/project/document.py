"""The text of a ModelBuild.toml, taken by itself: parsed, and checked as far as no variable need be filled in."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from modelbuild import words
from modelbuild.checkpoint import metadata
from modelbuild.digest import canonical, xxh3
from modelbuild.errors import Error
from modelbuild.project import mixes, variables, variant
from modelbuild.project.discovery import GLOB
from modelbuild.project.locate import At, Path, Place
from modelbuild.project.variant import RESERVED, WORD
from modelbuild.tensors import ftypes

if TYPE_CHECKING:
    from modelbuild.project.schema import Whole

DISCOVER_AS = re.compile(r"\{(name|folder|parent)\}")

LENGTH_LIMIT = 4_000_000
"""Characters of a text, which take a few seconds to parse; a project of a thousand models has some 200 thousand."""
DEPTH_LIMIT = 100
"""Tables and lists within one another, of which dotted keys make thousands in a line."""
_TOO_DEEP = "lists or tables are nested too deeply"


class Keep(Protocol):
    """Where is kept what was checked, so that it needs no checking again."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...


class Checked(NamedTuple):
    """What is left of a text once everything malformed is taken out.

    document   the TOML as tomllib reads it
    errors     all that is wrong with the text taken by itself
    malformed  tables that lost something, for which nothing further should be said
    """

    document: dict[str, Any]
    errors: list[Error]
    malformed: frozenset[Path]


def check(text: str, file: str, keep: Keep) -> Checked:
    """Parse and check a TOML text with LF line ends. Raises Error where it is not TOML."""
    document = _parse(text, file)
    root = Place(file, text)
    shapes = _Shapes(keep)
    errors, malformed = shapes.faults("document", document, root.at)
    for loc in malformed:
        _prune(document, loc)
    errors += _values(document, root)
    for name, table in document.get("model", {}).items():
        found = _row_errors(name, table, document, root, shapes)
        errors += found
        if found:
            malformed.append(("model", name))
    return Checked(document, errors, frozenset(malformed))


def check_table(table: Mapping[str, Any], place: Place, custom: frozenset[str], keep: Keep) -> list[Error]:
    """Check keys of a model that stand outside of the text; `custom` are the names of the text's own mixes."""
    return _model_errors(table, place.at, custom, _Shapes(keep))


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
    if depth > DEPTH_LIMIT:
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
            hint='keep long texts in files of their own: system = { file = "…" }',
        )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Error(_TOO_DEEP, path=file) from None
    except ValueError as fault:
        what, line, column = str(fault), None, None
        if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", what, re.DOTALL):
            what, line, column = found[1], int(found[2]), int(found[3])
        elif found := re.fullmatch(r"(.*) \(at end of document\)", what, re.DOTALL):
            what, line = f"{found[1]} at the end of the file", text.count("\n") + (not text.endswith("\n"))
        if line is None:
            raise Error(f"not TOML: {what}", path=file) from None
        source = text.split("\n")[line - 1]
        column = min(column or len(source) + 1, len(source) + 1)
        hint = _toml_hint(what, source)
        what = re.sub(r"\('(.*?)',?\)", lambda found: f"'{found[1].replace(_BETWEEN_KEYS, '.')}'", what)
        what = f"not TOML: {what[:1].lower()}{what[1:]}"
        raise Error(what, path=file, line=line, column=column, source=source, hint=hint) from None


_BETWEEN_KEYS = "', '"


def _toml_hint(what: str, source: str) -> str | None:
    if what == "Invalid value" and re.search(r"=\s*[A-Za-z]", source):
        return "strings stand in quotes"
    if what.startswith("Illegal character '\\n'"):
        return "a string ends on its line, with the quote that begins it; a longer one stands in three quotes"
    if what.startswith("Unescaped '\\'"):
        return "in single quotes a backslash stands for itself: 'C:\\models'"
    if "twice" in what or "overwrite" in what:
        return "each key and each table may be said once"
    return None


def _prune(document: dict[str, Any], loc: Path) -> None:
    depth = 3 if loc[0] in ("model", "ftype") else 2
    table: Any = document
    for part in loc[: min(depth, len(loc)) - 1]:
        table = table.get(part) if isinstance(table, dict) else None
    if isinstance(table, dict):
        table.pop(loc[min(depth, len(loc)) - 1], None)


# What no shape can say


def _values(document: Mapping[str, Any], root: Place) -> list[Error]:
    errors: list[Error] = []
    names = document.get("vars", {})
    custom = variant.custom_ftypes(document)
    for path, text in _strings(document):
        # A `${matrix.…}` is looked up per row.
        try:
            for part in variables.parts(text) if "${" in text else ():
                if isinstance(part, variables.Reference) and "." not in part.name and part.name not in names:
                    raise variables.unknown(part.name, names)
        except Error as error:
            errors.append(root.at(*path).placed(error))
    for name, value in names.items():
        here = root.at("vars", name)
        if not variables.NAME.fullmatch(name) or name == "matrix":
            what = f"'{name}' cannot name a variable"
            why = ": '${matrix.AXIS}' is a row's" if name == "matrix" else ": expected letters, digits and '_'"
            errors.append(here.error(what + why, value=False))
        if isinstance(value, float) and not math.isfinite(value):
            errors.append(here.error(f"'{name}' expects a finite number, got {value}"))
    discover_as = document.get("project", {}).get("discover_as", "{name}")
    if re.search(r"[{}]", DISCOVER_AS.sub("", discover_as)) or not DISCOVER_AS.search(discover_as):
        what = "'discover_as' expects some of {name}, {folder} and {parent}, got " + words.got(discover_as)
        if "${" not in discover_as:
            errors.append(root.at("project", "discover_as").error(what))
    for name, table in document.get("ftype", {}).items():
        errors += _ftype_values(name, table, root.at("ftype", name))
    for name in document.get("group", {}):
        if not WORD.fullmatch(name):
            what = f"'{name}' cannot name a group: expected letters, digits, '_', '-' and '.'"
            errors.append(root.at("group", name).error(what, value=False))
    errors += _table_values(document.get("defaults", {}), root.at("defaults").at, custom)
    for name, table in document.get("model", {}).items():
        here = root.at("model", name)
        errors += _table_values(table, here.at, custom)
        if not GLOB.search(name):
            if not all(WORD.fullmatch(part) for part in name.split("/")):
                what = f"'{name}' cannot name a model: expected letters, digits, '_', '-' and '.'"
                errors.append(here.error(what, value=False))
            continue
        for key in ("modelfile", "extends"):
            if key in table:
                errors.append(here.at(key).error(f"a glob table refines models, and takes no '{key}'", value=False))
    return errors


def _row_errors(
    name: str, table: Mapping[str, Any], document: Mapping[str, Any], root: Place, shapes: _Shapes
) -> list[Error]:
    """What is wrong with the values of axes, and with keys that `include` adds to rows."""
    errors: list[Error] = []
    here = root.at("model", name)
    custom = variant.custom_ftypes(document)
    for axis, values in table.get("matrix", {}).items():
        for label, value in values.items() if isinstance(values, dict) else enumerate(values):
            errors += _axis_value(axis, value, here.at("matrix", axis, label), custom, shapes)
    # A key that is an axis somewhere may name a label of it here.
    axes = {axis for each in document.get("model", {}).values() for axis in each.get("matrix", {})}
    for number, entry in enumerate(table.get("include", ())):
        extra = {key: value for key, value in entry.items() if key in variant.KEYS and key not in axes}
        errors += _model_errors(extra, here.at("include", number).at, custom, shapes)
    return errors


def _axis_value(axis: str, value: Any, place: Place, custom: frozenset[str], shapes: _Shapes) -> list[Error]:
    if axis in variant.KEYS:
        return _model_errors({axis: value}, lambda *keys: place.at(*keys[1:]), custom, shapes)
    if isinstance(value, variables.Scalar) and not (isinstance(value, float) and not math.isfinite(value)):
        return []
    expected = "a string, a number, true or false"
    return [place.error(f"a value of axis '{axis}' expects {expected}, got {words.got(value)}")]


def _model_errors(table: Mapping[str, Any], at: At, custom: frozenset[str], shapes: _Shapes) -> list[Error]:
    return shapes.faults("model", table, at)[0] or _table_values(table, at, custom)


def _table_values(table: Mapping[str, Any], at: At, custom: frozenset[str]) -> list[Error]:
    """Check the values of a table of model keys that hold no `${…}`: those are checked once they are filled in."""
    errors: list[Error] = []

    def value(raw: Any, here: Place, check: Callable[[Any], object]) -> None:
        if not variables.has_references(raw):
            try:
                check(raw)
            except Error as error:
                errors.append(here.placed(error))

    for key, raw in table.items():
        here = at(key)
        if key in RESERVED:
            errors.append(here.placed(variant.not_built_yet(f"'{key}'")))
        elif key in variant.CHECKS:
            value(raw, here, variant.CHECKS[key])
        elif key == "quantize":
            value(raw, here, lambda text: variant.ftype(text, custom))
        elif key == "template" and raw is True:
            errors.append(here.error("'template' expects a string, { file = … } or false, got true"))
        elif key == "parameters":
            for name, item in raw.items():
                if not (isinstance(item, list) and any(map(variables.has_references, item))):
                    value(item, here.at(name), partial(variant.parameter, name))
        elif key == "metadata":
            errors += _metadata_errors(raw, here)
        elif key == "adapters":
            for number, entry in enumerate(raw):
                value(entry.get("mode", "layer"), here.at(number, "mode"), variant.adapter_mode)
                value(entry.get("scale", 1), here.at(number, "scale"), variant.adapter_scale)
        elif key == "messages":
            for number, entry in enumerate(raw):
                value(entry["role"], here.at(number, "role"), variant.role)
    return errors


def _metadata_errors(table: Mapping[str, Any], place: Place) -> Iterator[Error]:
    for key, raw, path in metadata.flat(table):
        try:
            metadata.check_key(key)
            if not any("${" in text for _, text in _strings(raw)):
                metadata.check(key, raw)
        except Error as error:
            yield place.at(*path).placed(error)


def _ftype_values(name: str, table: Mapping[str, Any], place: Place) -> Iterator[Error]:
    if not WORD.fullmatch(name):
        what = f"'{name}' cannot name an ftype: expected letters, digits, '_', '-' and '.'"
        yield place.error(what, value=False)
    elif ftypes.canonical(name) or name.casefold() == "none":
        yield place.error(f"'{name}' is an ftype already", hint="give the mix a name of its own", value=False)
    for pattern in table.get("tensors", {}):
        try:
            mixes.check_pattern(pattern)
        except Error as error:
            yield place.at("tensors", pattern).error(error.what, value=False)


def _strings(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, (*path, number))
