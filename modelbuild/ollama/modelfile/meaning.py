"""The meaning of a Modelfile (parser/parser.go, CreateRequest), and the parts that Ollama refuses or ignores."""

from __future__ import annotations

import re
from typing import Any

from modelbuild.errors import Error
from modelbuild.ollama.modelfile import doubts, grammar
from modelbuild.ollama.modelfile.grammar import INSTRUCTIONS, Command
from modelbuild.ollama.modelfile.parameters import DEPRECATED, PARAMETERS, parameter, unknown_parameter
from modelbuild.ollama.modelfile.source import NEWLINE, Facts, Lines, Source, short
from modelbuild.tuples import NamedTuple


class Modelfile(NamedTuple):
    """A Modelfile: its commands as Ollama's parser reads them, and what they ask for.

    Scalars are None where the file does not give them or gives an empty text, which Ollama takes for the same.

    parameters  name -> int, float (shortened to float32), bool, or list of str for `stop`
    requires    a version without its leading `v`
    errors      what Ollama refuses at create, and the traps that nobody walks into on purpose; to be raised by the caller
    warnings    what Ollama takes in silence although it does not do what the text seems to say
    """

    path: str
    text: str
    commands: tuple[Command, ...]
    from_: tuple[Command, ...]
    adapters: tuple[Command, ...]
    drafts: tuple[Command, ...]
    template: str | None
    system: str | None
    renderer: str | None
    parser: str | None
    requires: str | None
    licenses: tuple[str, ...]
    messages: tuple[tuple[str, str], ...]
    parameters: dict[str, Any]
    errors: tuple[Error, ...]
    warnings: tuple[Error, ...]

    def error(self, command: Command, what: str, *, facts: Facts = (), hint: str | None = None) -> Error:
        """An error that points at a command's value."""
        return _at_value(self.path, Lines(self.text), command, what, facts, hint)


def parse(data: str | bytes, path: str) -> Modelfile:
    """Read a Modelfile. Raises Error where Ollama's parser stops; see Modelfile.errors for the rest.

    The grammar is that of parser/parser.go (ParseFile, parseRuneForState, unquote), the meaning that of its CreateRequest.
    """
    source = Source(data, path)
    try:
        commands = grammar.commands(source)
    except Error:
        # A swallowed line makes the lines after it look wrong: the cause comes first.
        if source.errors:
            raise source.errors[0] from None
        raise
    return _Meaning(source).of(commands)


_PATHS = ("from", "adapter", "draft")
_LISTS = (*_PATHS, "license", "message")


class _Meaning:
    """What a list of commands asks for (parser/parser.go, CreateRequest), and what is wrong with it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.last: dict[str, Command] = {}
        self.lists: dict[str, list[Command]] = {name: [] for name in _LISTS}
        self.parameters: dict[str, Any] = {}
        self.requires: str | None = None

    def of(self, commands: tuple[Command, ...]) -> Modelfile:
        for command in commands:
            if command.name == "parameter":
                self.parameter(command)
            elif command.name in self.lists:
                self.lists[command.name].append(command)
                if command.name in _PATHS:
                    self.path(command)
            else:
                self.scalar(command)
        if (template := self.last.get("template")) and template.value:
            self.template(template)
        adapters = self.lists["adapter"]
        if len(adapters) > 1:
            facts = [("first", f"line {adapters[0].line}"), ("Ollama", "keeps the last and drops the others")]
            hint = 'list them in ModelBuild.toml: adapters = [{ path = "…" }, { path = "…" }]'
            self.error(adapters[1], "second ADAPTER line, expected one", facts, hint)
        return Modelfile(
            self.source.path, self.source.text, commands,
            tuple(self.lists["from"]), tuple(adapters), tuple(self.lists["draft"]),
            self.text("template"), self.text("system"), self.text("renderer"), self.text("parser"),
            self.requires,
            tuple(command.value for command in self.lists["license"]),
            tuple((command.key, command.value) for command in self.lists["message"]),
            self.parameters, tuple(self.source.errors), tuple(self.source.warnings),
        )  # fmt: skip

    def text(self, name: str) -> str | None:
        return (self.last[name].value or None) if name in self.last else None

    def error(self, command: Command, what: str, facts: Facts = (), hint: str | None = None) -> None:
        self.source.errors.append(_at_value(self.source.path, self.source.lines, command, what, facts, hint))

    def warn(self, command: Command, what: str, facts: Facts = (), hint: str | None = None) -> None:
        self.source.warnings.append(_at_value(self.source.path, self.source.lines, command, what, facts, hint))

    def scalar(self, command: Command) -> None:
        name, value = command.name, command.value
        self.once(command, name, name.upper())
        if name == "requires":
            try:
                self.requires = version(value)
            except Error as fault:
                self.error(command, fault.what)
        elif not value:
            self.warn(
                command, f"an empty {name.upper()} has no effect and does not clear an inherited one",
                hint=f"to clear it: {name} = \"\" in ModelBuild.toml",
            )  # fmt: skip

    def template(self, command: Command) -> None:
        from modelbuild.ollama import template, template_values

        text, place = command.value, (self.source.path, command.line, command.value_column)
        source = self.source.lines[command.line]
        if fault := template.find_fault(text):
            self.source.errors.append(template.placed(fault, text, *place, source))
            return
        unknown = template_values.unknown(text)
        self.source.warnings += [template.placed(each, text, *place, source) for each in unknown]

    def once(self, command: Command, name: str, shown: str) -> None:
        if (earlier := self.last.get(name)) is not None:
            self.warn(command, f"{shown} is set again: line {earlier.line} has no effect")
        self.last[name] = command

    def path(self, command: Command) -> None:
        value, name = command.value, command.name.upper()
        if not value:
            hint = "write 'FROM .' for the Modelfile's own folder" if command.name == "from" else None
            self.error(command, f"{name} has no value", hint=hint)
        elif " #" in value:
            self.warn(
                command, f"'{short(value[value.index(' #') + 1 :])}' is part of the value of {name}",
                hint=comment_hint(name, value),
            )  # fmt: skip
        else:
            self.single_quotes(command, name)

    def single_quotes(self, command: Command, shown: str) -> None:
        if len(command.value) > 1 and command.value[0] == command.value[-1] == "'":
            self.warn(command, f"the single quotes are part of the value of {shown}", hint='quote with "…"')

    def parameter(self, command: Command) -> None:
        key = command.key
        if key in DEPRECATED:
            self.source.warnings.append(self.at_key(command, unknown_parameter(key)))
            return
        if key not in PARAMETERS:
            self.unknown_parameter(command)
            return
        try:
            value = parameter(key, command.value)
        except Error as fault:
            self.error(command, fault.what, fault.facts, fault.hint)
            return
        if key == "stop":
            self.parameters.setdefault(key, []).extend(value)
            self.doubts(command, value)
            return
        self.once(command, key, f"parameter '{key}'")
        if PARAMETERS[key] == "int" and value != int(command.value):
            self.warn(command, f"'{command.value}' is stored as {value}: Ollama keeps numbers as float64")
        self.doubts(command, value)
        self.parameters[key] = value

    def doubts(self, command: Command, value: Any) -> None:
        for doubt in doubts.of(command.key, value):
            self.warn(command, doubt.what, hint=doubt.hint)

    def unknown_parameter(self, command: Command) -> None:
        key = command.key
        meant = "from" if key == "model" else key
        if not key:
            fault = Error(
                "'PARAMETER' is followed by more than one space",
                facts=[("Ollama", "takes the text after the first space as the name, which is empty here")],
                hint="write 'PARAMETER name value'",
            )
        elif meant in INSTRUCTIONS and key not in ("from", "parameter"):
            fault = Error(
                f"'{key}' is not a parameter",
                facts=[("Ollama", f"reads this line as {meant.upper()}")],
                hint=f"write '{meant.upper()} …'",
            )
        else:
            fault = unknown_parameter(key)
        self.source.errors.append(self.at_key(command, fault))

    def at_key(self, command: Command, fault: Error) -> Error:
        return Error(
            fault.what, path=self.source.path, line=command.line, column=command.column + len("PARAMETER "),
            source=self.source.lines[command.line], width=len(command.key), facts=fault.facts, hint=fault.hint,
        )  # fmt: skip


def _at_value(
    path: str, lines: Lines, command: Command, what: str, facts: Facts = (), hint: str | None = None
) -> Error:
    return Error(
        what, path=path, line=command.line, column=command.value_column, source=lines[command.line],
        width=len(NEWLINE.split(command.value, 1)[0]), facts=facts, hint=hint,
    )  # fmt: skip


def comment_hint(name: str, value: str) -> str | None:
    """What to write instead of a value in which a comment was meant to stand; None where none was."""
    before, mark, _ = value.partition(" #")
    return f"put a comment on its own line: {name} {before.rstrip()}" if mark else None


_REQUIRES = (
    r"v?((?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)"
    r"(?:-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?)"
)
"""golang.org/x/mod/semver: minor and patch may be left out, then without pre-release and build."""


def version(text: str) -> str:
    """Read what REQUIRES gives, without its leading `v`. Raises Error without a place."""
    match = re.fullmatch(_REQUIRES, text)
    if match is None:
        raise Error(f"REQUIRES expects a version such as '0.14.0', got '{short(text)}'")
    return match[1]


_WEIGHTS = (".gguf", ".safetensors", ".bin", ".pth", ".pt", ".ggml")


def looks_like_path(argument: str) -> bool:
    """Whether a FROM that names nothing on disk was meant for a path; Ollama would take it for a model's name."""
    if argument.startswith((".", "/", "~", "\\")) or "\\" in argument or argument[1:3] in (":/", ":\\"):
        return True
    parts = argument.split("/")
    if "://" in argument or (len(parts) == 3 and re.search("[.:]", parts[0])):
        return False
    return len(parts) > 3 or parts[-1].lower().endswith(_WEIGHTS) and ":" not in parts[-1]
