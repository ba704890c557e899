"""Plain command lines: a build with a few common options, read without click, whose import takes longer than a build with nothing to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelbuild.cli.invocation import is_command

_FOLDERS = {"-C": "folder", "--cache": "cache", "--models": "models"}
_FLAGS = {
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
    "-k": "keep_going",
    "--keep-going": "keep_going",
    "--offline": "offline",
    "--locked": "locked",
    "--json": "as_json",
}


def read(words: Sequence[str]) -> dict[str, Any] | None:
    """The options of a build and its targets, by the names of their parameters; None for all that click has to read.

    Click gives the same for every command line that this reads.
    """
    values: dict[str, Any] = {}
    targets: list[str] = []
    rest = iter(_without_quiet(words))
    for word in rest:
        if word in _FOLDERS:
            value = next(rest, "")
            if not value or value.startswith("-") or _FOLDERS[word] in values:
                return None
            values[_FOLDERS[word]] = value
        elif word in _FLAGS:
            values[_FLAGS[word]] = True
        elif word.startswith("-") or not word or is_command(word):
            return None
        else:
            targets.append(word)
    return {**values, "targets": tuple(targets)}


def _without_quiet(words: Sequence[str]) -> Sequence[str]:
    """The words with `-q` spelled out where it can only be that: no type follows it."""
    following = [*words[1:], "-"]
    return [
        "--quiet" if word == "-q" and after.startswith("-") else word
        for word, after in zip(words, following, strict=False)
    ]
