"""Where in a TOML text a key and its value stand; read only when an error has to be placed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.ollama.modelfile.grammar import Command
    from modelbuild.ollama.modelfile.meaning import Modelfile

Path = tuple[str | int, ...]
"""Keys and list positions from the root of the document: ("model", "chat", "adapters", 0, "path")"""


def part(path: Path) -> str | None:
    """What a fault at a path stops: a model or a glob of them by its name, a mix or a group by its table; None for everything."""
    match path:
        case ("model", str(name), *_):
            return name
        case ("ftype" | "group" as table, str(name), *_):
            return f"[{table}.{name}]"
    return None


class Span(NamedTuple):
    """Characters of the text, from start up to but not including end."""

    start: int
    end: int


class Spot(NamedTuple):
    """Where one path stands; an item of a list has no key, a table made by a header has no value."""

    key: Span | None
    value: Span | None


class Position(NamedTuple):
    """Line and column count from 1; width is the number of characters on that line."""

    line: int
    column: int
    width: int
    source: str


class Place(NamedTuple):
    """Where something was said: a key path of a TOML text, a command of a Modelfile, or an option of the command line.

    file  as users see it: relative to the project, or the option itself
    text  the TOML text, with LF line ends
    """

    file: str
    text: str = ""
    key: Path = ()
    modelfile: Modelfile | None = None
    command: Command | None = None

    def __eq__(self, other: object) -> bool:
        # Not by all of a text.
        return isinstance(other, Place) and self._told() == other._told()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._told())

    def _told(self) -> tuple[str, Path, Command | None]:
        return self.file, self.key, self.command

    def at(self, *more: str | int) -> Place:
        return Place(self.file, self.text, (*self.key, *more)) if self.text else self

    def position(self, *, value: bool = True) -> tuple[int | None, int | None]:
        """Line and column of the value, or of the key."""
        if self.command:
            return self.command.line, self.command.column
        found = find(self.text, self.key, value=value)
        return (found.line, found.column) if found else (None, None)

    def error(
        self, what: str, *, facts: Sequence[tuple[str, str]] = (), hint: str | None = None, value: bool = True
    ) -> Error:
        """An error about what stands here: about its value, or (`value=False`) about the key as such."""
        if self.modelfile and self.command:
            return self.modelfile.error(self.command, what, facts=facts, hint=hint)
        line, column = self.position(value=value)
        return Error(self._owner() + what, path=self.file, line=line, column=column, facts=facts, hint=hint)

    def placed(self, error: Error) -> Error:
        """Give an error its place, unless it has one."""
        return error if error.path else self.error(error.what, facts=error.facts, hint=error.hint)

    def spelled(self, root: str) -> str:
        """The place in a text that `recalled` reads; `root` is the project's folder."""
        return json.dumps([root if self.text else "", self.file, self.key])

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, *self.position(value=False)) if part is not None)

    def _owner(self) -> str:
        match self.key:
            case ("ftype", str(name), *_):
                return f"mix '{name}': "
            case ("model" | "group" as table, str(name), *_):
                return f"{table} '{name}': "
            case ("defaults" | "project" | "vars" as table, _, *_):
                return f"{table}: "
        return ""


At = Callable[..., Place]
"""Key path within a table -> its place."""


def recalled(spelled: str) -> Place:
    """The place that `Place.spelled` spelled, in the TOML as it is now."""
    root, file, key = json.loads(spelled)
    if not root:
        return Place(file)
    try:
        with open(os.path.join(root, file), encoding="utf-8-sig") as toml:
            return Place(file, toml.read(), tuple(key))
    except (OSError, ValueError):
        return Place(file)


def find(text: str, path: Path, *, value: bool = False) -> Position | None:
    """Place a path, or the nearest table around it that the text names; None when that is the whole document.

    text is valid TOML with LF line ends. With `value` the value is placed where there is one, else the key.
    """
    try:
        spots = index(text)
    except RecursionError:
        return None
    while path and path not in spots:
        path, value = path[:-1], False
    if not path:
        return None
    spot = spots[path]
    span = (spot.value or spot.key) if value else (spot.key or spot.value)
    return position(text, span) if span else None


def position(text: str, span: Span) -> Position:
    """Turn characters of the text into a line, a column and that line's own text."""
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.start)
    end = len(text) if end < 0 else end
    return Position(
        line=text.count("\n", 0, span.start) + 1,
        column=span.start - start + 1,
        width=max(1, min(span.end, end) - span.start),
        source=text[start:end],
    )


@lru_cache(maxsize=2)
def index(text: str) -> Mapping[Path, Spot]:
    """Every path of a valid TOML text and where it was first said."""
    return _Scanner(text).document()


_SPACE = r"[ \t]*"
_FILLER = r"(?:[ \t\r\n]|#[^\n]*)*"
_BARE_KEY = r"[A-Za-z0-9_-]+"
_STRINGS = {
    '"""': r'(?s)"""(?:\\.|[^\\])*?"""(?:"{1,2}(?!"))?',
    "'''": r"(?s)'''.*?'''(?:'{1,2}(?!'))?",
    '"': r'"(?:\\.|[^"\\])*"',
    "'": r"'[^']*'",
}
_SCALAR = r"[^,\]}#\r\n]*[^,\]}#\s]"


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spots: dict[Path, Spot] = {}
        self.last_item: dict[Path, int] = {}

    def document(self) -> dict[Path, Spot]:
        table: Path = ()
        while self._skip(_FILLER) < len(self.text):
            before = self.at
            if self.text.startswith("[[", self.at):
                table = self._header(2)
            elif self.text[self.at] == "[":
                table = self._header(1)
            else:
                self._pair(table)
            if self.at == before:  # not TOML after all
                break
        return self.spots

    def _skip(self, pattern: str) -> int:
        found = re.compile(pattern).match(self.text, self.at)
        if found:
            self.at = found.end()
        return self.at

    def _note(self, path: Path, key: Span | None, value: Span | None = None) -> None:
        self.spots.setdefault(path, Spot(key, value))

    def _header(self, brackets: int) -> Path:
        self.at += brackets
        parts = self._key()
        path: Path = ()
        for number, (name, span) in enumerate(parts):
            path = (*path, name)
            self._note(path, span)
            is_last = number == len(parts) - 1
            if is_last and brackets == 2:
                item = self.last_item.get(path, -1) + 1
                self.last_item[path] = item
                path = (*path, item)
                self._note(path, span)
            elif path in self.last_item:
                path = (*path, self.last_item[path])
        self._skip(_SPACE)
        self.at += brackets
        return path

    def _key(self) -> list[tuple[str, Span]]:
        parts: list[tuple[str, Span]] = []
        while True:
            start = self._skip(_SPACE)
            if self.text[start : start + 1] in ('"', "'"):
                self._string()
                name = _unquoted(self.text[start : self.at])
            else:
                self._skip(_BARE_KEY)
                name = self.text[start : self.at]
            parts.append((name, Span(start, self.at)))
            if self._skip(_SPACE) < len(self.text) and self.text[self.at] == ".":
                self.at += 1
                continue
            return parts

    def _pair(self, table: Path) -> None:
        path = table
        parts = self._key()
        for name, span in parts[:-1]:
            path = (*path, name)
            self._note(path, span)
        name, span = parts[-1]
        path = (*path, name)
        self._skip(_SPACE)
        self.at += 1  # =
        self._skip(_SPACE)
        self._value(path, span)

    def _value(self, path: Path, key: Span | None) -> None:
        start = self.at
        self._note(path, key)
        opening = self.text[start : start + 1]
        if opening == "[":
            self._items(path)
        elif opening == "{":
            self._inline_table(path)
        elif opening in ('"', "'"):
            self._string()
        else:
            self._skip(_SCALAR)
        if self.spots[path] == Spot(key, None):
            self.spots[path] = Spot(key, Span(start, self.at))

    def _items(self, path: Path) -> None:
        self.at += 1
        number = 0
        while self._skip(_FILLER) < len(self.text):
            if self.text[self.at] == "]":
                self.at += 1
                return
            before = self.at
            self._value((*path, number), None)
            number += 1
            self._comma(before)

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self._skip(_FILLER) < len(self.text):
            if self.text[self.at] == "}":
                self.at += 1
                return
            before = self.at
            self._pair(path)
            self._comma(before)

    def _comma(self, before: int) -> None:
        if self._skip(_FILLER) < len(self.text) and self.text[self.at] == ",":
            self.at += 1
        if self.at == before:  # not TOML after all
            self.at = len(self.text)

    def _string(self) -> None:
        for opening, pattern in _STRINGS.items():
            if self.text.startswith(opening, self.at):
                found = re.compile(pattern).match(self.text, self.at)
                self.at = found.end() if found else len(self.text)
                return


def _unquoted(raw: str) -> str:
    if raw[:1] == "'":
        return raw[1:-1]
    import tomllib

    try:
        return str(tomllib.loads(f"key = {raw}")["key"])
    except tomllib.TOMLDecodeError:
        return raw
