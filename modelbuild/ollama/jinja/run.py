"""One rendering: what it has used up, and the names that it knows."""

from __future__ import annotations

from typing import Any

from modelbuild.ollama.jinja.values import LONGEST_TEXT, UNDEFINED, Unsupported

STEPS = 20_000
"""Expressions evaluated in one rendering; long values count for more."""
DEEPEST = 60
"""Nesting, of statements, expressions and calls of macros."""


class Run:
    """What one rendering has used up."""

    def __init__(self) -> None:
        self.steps = 0
        self.written = 0
        self.depth = 0

    def step(self, steps: int = 1) -> None:
        """Count steps. Raises Unsupported past STEPS."""
        self.steps += steps
        if self.steps > STEPS:
            raise Unsupported("too many steps")

    def handle(self, value: Any) -> None:
        """Count a value that is about to be read or was just made by its length."""
        if isinstance(value, str):
            self.step(len(value) // 64)
        elif isinstance(value, (list, tuple, dict)):
            self.step(len(value))

    def keep(self, value: Any) -> Any:
        """Count a list or mapping that was made by all that it holds, however often: it may be compared or printed."""
        waiting = [value]
        while waiting:
            item = waiting.pop()
            self.step()
            self.handle(item)
            if isinstance(item, dict):
                waiting.extend(item.values())
            elif isinstance(item, (list, tuple)):
                waiting.extend(item)
        return value

    def write(self, out: list[str], text: str) -> None:
        """Put text at the end of `out`. Raises Unsupported where all of the rendering is too long."""
        self.written += len(text)
        if self.written > LONGEST_TEXT * 4:
            raise Unsupported("too much text")
        out.append(text)


class Scope:
    """Names and their values; what is not here is looked for outside."""

    def __init__(self, names: dict[str, Any], outer: Scope | None) -> None:
        self.names = names
        self.outer = outer

    def get(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return UNDEFINED
