"""The values of one row's keys: variables filled in, checked, and texts read from the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from modelbuild.errors import Problems
from modelbuild.files import expand
from modelbuild.project import keys, variables
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Said
from modelbuild.project.texts import Texts
from modelbuild.project.variables import Scope
from modelbuild.project.variant import File
from modelbuild.words import as_text

T = TypeVar("T")


class Values:
    """Reads what is `said` of a row. Of a key that is not said the value is None; what is wrong goes to `problems`."""

    def __init__(self, said: Mapping[str, Said], scope: Scope, texts: Texts, problems: Problems) -> None:
        self.said = said
        self.scope = scope
        self.texts = texts
        self.problems = problems

    # Of a value and its place

    def filled(self, value: Any, place: Place) -> Any:
        """A value with its variables filled in, wherever they stand in it; "" for a string of which they cannot be."""
        if isinstance(value, list):
            return [self.filled(item, place.at(number)) for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {name: self.filled(item, place.at(name)) for name, item in value.items()}
        with self.problems.at(place):
            return variables.filled(value, self.scope)
        return ""

    def items(self, values: Sequence[Any], place: Place) -> list[Any]:
        """The items of a list, the variables filled in of those that are strings."""
        return [
            self.filled(item, place.at(number)) if isinstance(item, str) else item for number, item in enumerate(values)
        ]

    def checked(self, value: Any, place: Place, check: Callable[[Any], T]) -> T | None:
        """A value as it counts; None where it is wrong."""
        with self.problems.at(place):
            return check(variables.filled(value, self.scope))
        return None

    def text(self, value: Any, place: Place, check: Callable[[Any], Any] = keys.text) -> str:
        """A text, which may stand in a file of its own; "" for false, and where it cannot be had."""
        if isinstance(value, dict):
            here = place.at("file")
            with self.problems.at(here):
                path = as_text(variables.filled(value["file"], self.scope))
                return self.texts.text(expand(path, self.texts.folder(place)), here) if path else ""
            return ""
        # A variable may make any text a flag; true stands for no text anywhere.
        filled = self.checked(value, place, check)
        return "" if filled is None or isinstance(filled, bool) else as_text(filled)

    def path(self, value: Any, place: Place) -> File | None:
        """A path as a TOML says it; None for ""."""
        return self.file(as_text(self.filled(value, place)), place, self.texts.folder(place))

    def file(self, text: str, place: Place, folder: str) -> File | None:
        """A path as it stands, relative to a folder; None for ""."""
        with self.problems.at(place):
            return File(expand(text, folder), text, folder, place) if text else None
        return None

    # Of a key

    def of(self, key: str, check: Callable[[Any], T]) -> T | None:
        """The value as it counts; None also where it is wrong."""
        return self.checked(*self.said[key], check) if key in self.said else None

    def string_of(self, key: str) -> str | None:
        """The value in a string; "" where its variables cannot be filled in."""
        return as_text(self.filled(*self.said[key])) if key in self.said else None

    def strings_of(self, key: str) -> list[str]:
        """The items of a list; empty where it is not said."""
        values, place = self.said.get(key, (None, None))
        return [as_text(item) for item in self.items(values, place)] if values and place else []

    def text_of(self, key: str) -> str | None:
        return self.text(*self.said[key], keys.KEYS[key].check or keys.text) if key in self.said else None

    def path_of(self, key: str) -> File | None:
        return self.path(*self.said[key]) if key in self.said else None

    def path_or_word_of(self, key: str, words: Sequence[str]) -> File | str | None:
        """A file, or one of a few words in any case; "" for false."""
        if key not in self.said:
            return None
        value, place = self.said[key]
        filled = self.checked(value, place, keys.KEYS[key].check or as_text)
        if filled is False or filled in ("", "false"):
            return ""
        if isinstance(filled, str) and filled.casefold() in words:
            return filled.casefold()
        return self.path(value, place)

    def entries_of(self, key: str) -> Mapping[str, Said]:
        """The entries of a table that merges; empty where it is not said."""
        entries: Mapping[str, Said] = self.said[key].value if key in self.said else {}
        return entries
