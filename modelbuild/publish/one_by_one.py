"""What is noted in the database, by key: a build of a few models asks for a few keys, one of many reads all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

FEW = 100
"""Keys that are asked for one by one."""


class OneByOne(Generic[T]):
    """`one` gives the value of a key, `all` of every key; None where there is none."""

    def __init__(self, one: Callable[[str], T | None], all: Callable[[], Mapping[str, T]]) -> None:
        self._one = one
        self._all = all
        self._known: dict[str, T | None] = {}
        self._is_whole = False

    def get(self, key: str) -> T | None:
        if key not in self._known and not self._is_whole:
            if len(self._known) >= FEW:
                self.whole()
            else:
                self._known[key] = self._one(key)
        return self._known.get(key)

    def set(self, key: str, value: T | None) -> None:
        """From here on a key has this value."""
        self._known[key] = value

    def whole(self) -> dict[str, T]:
        """Every key that has a value."""
        if not self._is_whole:
            self._known = {**self._all(), **self._known}
            self._is_whole = True
        return {key: value for key, value in self._known.items() if value is not None}

    def forget(self) -> None:
        """From here on no key has a value."""
        self._known, self._is_whole = {}, True
