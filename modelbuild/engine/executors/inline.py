"""Run a step in the calling thread, at once. Imports nothing: a build of a few text layers needs no threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Done(Generic[T]):
    """A finished call, with the `result` method of a future."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._error: Exception | None = None
        try:
            self._value: T = call()
        except Exception as error:
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value


class Inline:
    """The part of the executor interface that the scheduler uses."""

    def submit(self, call: Callable[..., T], *args: Any) -> Done[T]:
        return Done(lambda: call(*args))
