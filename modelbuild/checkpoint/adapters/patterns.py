"""Patterns that give some modules a rank or an alpha of their own: the first that fits counts.

Source: PEFT 0.21.2, utils/other.py (get_pattern_key)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelbuild.errors import Error
from modelbuild.words import in_json, shown

PATTERNS_LIMIT = 4096
LENGTH_LIMIT = 1000
REPEATS_LIMIT = 3
"""Repetitions within a pattern. A pattern of a stranger must not take hours to be found not to fit."""

_PLAIN = re.compile(r"[\w.-]*")
_REPEAT = re.compile(r"(?<!\\)[*+{]")
_NESTED = re.compile(r"\)[*+{?]")


class Patterns:
    """Regular expressions that end the path of a module, and what each stands for."""

    def __init__(self, said: Any, key: str) -> None:
        if not isinstance(said, dict) or len(said) > PATTERNS_LIMIT:
            raise Error(f"'{key}' expects a table of patterns, got {in_json(said)}", path="adapter_config.json")
        self._found: list[tuple[re.Pattern[str], Any]] = [(_compiled(text, key), value) for text, value in said.items()]
        self._said: Mapping[str, Any] = said

    def of(self, module: str, default: Any) -> Any:
        """What stands for a module."""
        return next((value for pattern, value in self._found if pattern.match(module)), self._said.get(module, default))


def _compiled(text: str, key: str) -> re.Pattern[str]:
    simple = _PLAIN.fullmatch(text) or (len(_REPEAT.findall(text)) <= REPEATS_LIMIT and not _NESTED.search(text))
    if len(text) > LENGTH_LIMIT or not simple:
        raise Error(
            f"'{key}' contains a pattern that is too involved: {shown(text)}",
            path="adapter_config.json",
            facts=[("expected", f"at most {LENGTH_LIMIT} characters and {REPEATS_LIMIT} repetitions, none of a group")],
            hint="write one pattern for each module",
        )
    try:
        return re.compile(rf"(.*\.)?({text})$")
    except (re.error, OverflowError, RecursionError) as error:
        raise Error(
            f"'{key}' contains a pattern that is not a regular expression: {shown(text)} ({error})",
            path="adapter_config.json",
        ) from None
