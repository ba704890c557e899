"""Say what is wrong, where, and what to do: the one error type and the one function that renders it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol

LINE = 120
"""Characters of a source line that are shown."""

OF_A_KIND = 20
"""Warnings of one kind that are shown."""
INDENT = 2


class Error(Exception):
    """Bad input, a failed step or a broken file: something a user can act on.

    what       the fault, lower case, no full stop, names in single quotes
    path       the file of the fault, as a user would write it; line and column count from 1
    input      the input of a step that has the fault, by the step's name for it: a step knows no paths
    parameter  the parameter of a step that it is about, and the keys within it
    source     the text of that line; `width` characters from `column` on are underlined
    facts      (label, text) pairs, shown aligned below
    hint       what to do about it

    It has one of `path`, `input` and `parameter`. A raised error is never changed, only replaced.
    """

    def __init__(
        self,
        what: str,
        *,
        path: str | None = None,
        input: str | None = None,
        parameter: Sequence[str] = (),
        line: int | None = None,
        column: int | None = None,
        source: str | None = None,
        width: int = 1,
        facts: Sequence[tuple[str, str]] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.path = path
        self.input = input
        self.parameter = tuple(parameter)
        self.line = line
        self.column = column
        self.source = source
        self.width = width
        self.facts = tuple(facts)
        self.hint = hint

    @property
    def place(self) -> str:
        named = self.path or self.input or ".".join(self.parameter) or None
        parts = [named, self.line, self.column if self.line else None]
        return ":".join(str(part) for part in parts if part is not None)

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from other errors."""
        return self.path, self.line, self.column, self.what

    @property
    def errors(self) -> tuple[Error, ...]:
        """Itself, as `Errors` has several."""
        return (self,)

    def replace(self, **changes: Any) -> Error:
        """The same fault with other words for some of its parts, by the names of the parameters."""
        # Not what Python keeps there too: its notes, which a package from outside may have added.
        parts = {name: value for name, value in vars(self).items() if not name.startswith("__")}
        return Error(**{**parts, **changes})

    def spelled(self) -> list[Any]:
        """What `recalled` reads of a fault of a project, as JSON has it."""
        return [self.what, self.path, self.line, self.column, self.source, self.width, self.facts, self.hint]

    @staticmethod
    def recalled(spelled: Sequence[Any]) -> Error:
        what, path, line, column, source, width, facts, hint = spelled
        told = [(label, text) for label, text in facts]
        return Error(what, path=path, line=line, column=column, source=source, width=width, facts=told, hint=hint)

    def of_input(self) -> Error:
        """The same fault, told by a reader that took the name of a step's input for a path."""
        return self.replace(path=None, input=self.path) if self.path else self

    def __str__(self) -> str:
        return render(self)


class FellShort(Error):
    """A model is not what its project asks for: that stops what is made of it, and nothing beside it."""

    def replace(self, **changes: Any) -> Error:
        parts = {name: value for name, value in vars(self).items() if not name.startswith("__")}
        return FellShort(**{**parts, **changes})


class Errors(Exception):
    """Several errors found in one pass; never empty."""

    def __init__(self, errors: Sequence[Error]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n\n".join(render(error) for error in self.errors)


class Placing(Protocol):
    """Knows where something was said, and gives an error that place unless it has one."""

    def placed(self, error: Error) -> Error: ...


class Problems:
    """What is wrong, gathered on the way so that one pass says all of it. True where anything is.

    warnings  errors that nobody need act on
    parts     what is wrong with a part of the whole, and stops nothing else, by the part
    """

    def __init__(self) -> None:
        self.errors: list[Error] = []
        self.warnings: list[Error] = []
        self.parts: dict[str, Problems] = {}

    def __bool__(self) -> bool:
        return bool(self.errors) or any(self.parts.values())

    def of(self, part: str) -> Problems:
        """The problems of one part."""
        return self.parts.setdefault(part, Problems())

    def add(self, *errors: Error) -> None:
        self.errors += errors

    def warn(self, *warnings: Error) -> None:
        self.warnings += warnings

    def warn_of_some(self, warnings: Iterable[Error]) -> None:
        """Warn of the first ones of a kind: each costs a look for its place, and nobody reads thousands."""
        for number, warning in enumerate(warnings, 1):
            if number == OF_A_KIND:
                self.warnings.append(warning.replace(what=f"{warning.what}; there may be more like this"))
                return
            self.warnings.append(warning)

    def take(self, others: Problems) -> None:
        """Add what was gathered elsewhere."""
        self.errors += others.errors
        self.warnings += others.warnings
        for part, more in others.parts.items():
            self.of(part).take(more)

    def at(self, place: Placing) -> _Gathering:
        """A `with` block that an Error ends quietly: it is added, at this place unless it has one."""
        return _Gathering(self, place)


class _Gathering:
    """As a class: a generator takes three times as long, for each of the many values of a project."""

    __slots__ = ("_place", "_problems")

    def __init__(self, problems: Problems, place: Placing) -> None:
        self._problems = problems
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(fault, Error):
            return False
        self._problems.add(self._place.placed(fault))
        return True


class Stopped(Exception):
    """The build was interrupted; a step gave up half way."""


def once(errors: Iterable[Error]) -> list[Error]:
    """Each error once, by its place and its words."""
    return list({each.key: each for each in errors}.values())


class Fit(Protocol):
    """Lays out one line of an error, which goes on so many columns further right where it does not fit."""

    def __call__(self, line: str, indent: int, /) -> str: ...


def render(error: Error, severity: str = "error", fit: Fit = lambda line, _: line, width: int | None = None) -> str:
    """Lay out one error: `error: place: what`, the source line, aligned facts, the hint; for a terminal in its `width`."""
    what = f"{error.place}: {error.what}" if error.place else error.what
    lines = [fit(f"{severity}: {what}".replace("\n", "\\n"), INDENT)]
    if error.source is not None and error.line is not None:
        gutter = f"  {error.line} | "
        room = LINE if width is None else max(1, min(LINE, width - len(gutter) - len("……")))
        text, column, marked = _cut(error.source.rstrip("\r\n"), error.column, error.width, room)
        lines.append(gutter + text)
        if column is not None:
            pad = "".join("\t" if ch == "\t" else " " for ch in text[: column - 1])
            lines.append(" " * (len(gutter) - 2) + "| " + pad + "^" * max(1, marked))
    rows = [*error.facts, *([("hint", error.hint)] if error.hint else [])]
    label_width = max((len(label) for label, _ in rows), default=0)
    indent = label_width + 2 * INDENT
    for label, text in rows:
        for number, line in enumerate(text.split("\n")):
            lines.append(fit(f"  {'' if number else label:<{label_width}}  {line}", indent))
    return "\n".join(lines)


def _cut(text: str, column: int | None, width: int, room: int) -> tuple[str, int | None, int]:
    """The part of a long line around a column, with what is left of the column and the width."""
    if len(text) <= room:
        return text, column, width
    start = max(0, min((column or 1) - 1 - room // 3, len(text) - room))
    end = start + room
    shown = ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
    moved = None if column is None else column - start + (1 if start else 0)
    return shown, moved, min(width, len(shown) - (moved or 1) + 1)
