"""Print commands as a Modelfile."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelbuild.errors import Error
from modelbuild.ollama.modelfile.grammar import INSTRUCTIONS, KEY, ROLES, Command
from modelbuild.ollama.modelfile.source import DROPPED
from modelbuild.words import character, did_you_mean


def render(commands: Iterable[Command]) -> str:
    """Print commands as a Modelfile that reads back as the same. Raises Error for what no Modelfile can say."""
    commands = list(commands)
    if not any(command.name == "from" or command.key == "model" for command in commands):
        raise Error("no FROM among the commands")
    return "".join(map(_line, commands))


def _line(command: Command) -> str:
    name, key = command.name, command.key
    if name not in INSTRUCTIONS:
        raise Error(f"no instruction '{name}'", hint=did_you_mean(name, INSTRUCTIONS))
    if name == "parameter" and not KEY.fullmatch(key):
        raise Error(f"a Modelfile cannot name a parameter '{key}'")
    if name == "message" and key not in ROLES:
        raise Error(f"unknown role '{key}'", hint=did_you_mean(key, ROLES))
    words = f"{name.upper()} {key}" if name in ("parameter", "message") else name.upper()
    return f"{words} {_quoted(command.value, words)}\n"


def _quoted(value: str, words: str) -> str:
    if lost := re.search(DROPPED, value):
        raise Error(f"a Modelfile cannot contain {character(lost[0])} in the value of {words}", hint="Ollama drops it")
    if "\n" in value or "\r" in value:
        if re.search(r'"""[ \t]*[\r\n]', value):
            raise Error(f'a Modelfile cannot contain a line that ends in """ in the value of {words}')
        return f'"""{value}"""'
    if value and value[0] not in '" \t' and value[-1] not in " \t":
        return value
    return f'"""{value}"""' if value.startswith('"') else f'"{value}"'
