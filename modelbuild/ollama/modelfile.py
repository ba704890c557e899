"""Read Modelfiles as Ollama reads them, say where one walks into a trap, and print them back."""

from __future__ import annotations

import math
import os
import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from modelbuild import words
from modelbuild.errors import Error
from modelbuild.words import did_you_mean, listed

INSTRUCTIONS = (
    "from", "adapter", "draft", "template", "system", "parameter", "message", "license", "renderer", "parser",
    "requires",
)  # fmt: skip
ROLES = ("system", "user", "assistant")

PARAMETERS = {
    **dict.fromkeys(
        ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict", "num_keep", "seed",
         "num_predict", "top_k", "repeat_last_n"), "int"),
    **dict.fromkeys(
        ("top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"),
        "float"),
    "use_mmap": "bool",
    "stop": "strings",
}  # fmt: skip
"""Parameter -> the type of its value (Ollama's api/types.go, Options and Runner)."""

DEPRECATED = frozenset(
    ("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat", "mirostat_tau",
     "mirostat_eta")
)  # fmt: skip
"""Accepted and dropped by Ollama (parser/parser.go, deprecatedParameters)."""

GONE = frozenset(("numa", "num_gqa", "rope_frequency_base", "rope_frequency_scale", "tfs_z"))
"""Known to older versions of Ollama, an error in today's."""


class Command(NamedTuple):
    """One instruction. Line and columns count from 1.

    name          one of INSTRUCTIONS
    key           the name of a PARAMETER, the role of a MESSAGE, else empty
    value_column  where on the same line the value begins, inside its quotes
    """

    name: str
    value: str
    key: str = ""
    line: int = 0
    column: int = 0
    value_column: int = 0


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

    def error(self, command: Command, what: str, *, facts: _Facts = (), hint: str | None = None) -> Error:
        """An error that points at a command's value."""
        return _at_value(self.path, _Lines(self.text), command, what, facts, hint)


def parse(data: str | bytes, path: str) -> Modelfile:
    """Read a Modelfile. Raises Error where Ollama's parser stops; see Modelfile.errors for the rest.

    The grammar is that of parser/parser.go (ParseFile, parseRuneForState, unquote), the meaning that of its CreateRequest.
    """
    warnings: list[Error] = []
    errors: list[Error] = []
    source = _Source(data, path, warnings)
    try:
        commands = _commands(source, errors, warnings)
    except Error:
        # A swallowed line makes the lines after it look wrong: the cause comes first.
        if errors:
            raise errors[0] from None
        raise
    return _Meaning(source, errors, warnings).of(tuple(commands))


# The text and its places


_NEWLINE = re.compile(r"\r\n|\r|\n")

# Ollama keeps what Go's unicode.IsPrint holds for printable. Written out rather than asked of `str.isprintable`, so that
# one text gives the same bytes under every version of Python. What Unicode has yet to assign is kept.
_DROPPED = (
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f"
    "\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ud800-\uf8ff\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    "\U000f0000-\U000ffffd\U00100000-\U0010fffd]"
)
_Facts = Sequence[tuple[str, str]]
_LAYOUT = str.maketrans("", "", "\t\r\n")


class _Lines:
    """Lines of a text, by number and by offset. CR, LF and CRLF each end one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def __getitem__(self, line: int) -> str:
        """A line as it can be shown: without its end, and with a sign for each character that a terminal might obey."""
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        return re.sub(_DROPPED, "\ufffd", self.text[self.starts[line - 1] : end].rstrip("\r\n"))


class _Source:
    """A decoded Modelfile: the text that the grammar sees, and where each of its offsets stands in the file.

    seen   the text without the characters that Ollama drops
    drops  for each dropped character the offset in `seen` that it stood before
    """

    def __init__(self, data: str | bytes, path: str, warnings: list[Error]) -> None:
        self.path = path
        broken = -1
        if isinstance(data, bytes):
            text, broken = _decode(data)
        else:
            text = data.removeprefix("\ufeff")
        self.text = self.seen = text
        self.drops: list[int] = []
        self.lines = _Lines(text)
        if not text.translate(_LAYOUT).isprintable():
            self.drops = [match.start() - count for count, match in enumerate(re.finditer(_DROPPED, text))]
            if self.drops:
                self.seen = re.sub(_DROPPED, "", text)
        if broken >= 0:
            line, column = self.lines.place(broken)
            warnings.append(
                Error(
                    "text is not UTF-8; what cannot be read becomes '\ufffd'",
                    path=path, line=line, column=column, source=self.lines[line],
                    hint="save the file as UTF-8",
                )
            )  # fmt: skip

    def original(self, offset: int) -> int:
        return offset + bisect_right(self.drops, offset) if self.drops else offset

    def place(self, offset: int) -> tuple[int, int]:
        return self.lines.place(self.original(offset))

    def span(self, start: int, end: int) -> tuple[int, int, int]:
        """The line of two offsets on one line, and their columns."""
        line, column = self.place(start)
        return line, column, column + self.original(end) - self.original(start)

    def dropped(self, start: int, end: int) -> Sequence[int]:
        """Offsets in the text of the characters dropped from seen[start:end], those right before and after it included."""
        first, last = bisect_left(self.drops, start), bisect_right(self.drops, end)
        return [self.drops[index] + index for index in range(first, last)]

    def error(self, offset: int, what: str, width: int = 1, facts: _Facts = (), hint: str | None = None) -> Error:
        line, column = self.place(offset)
        return Error(
            what, path=self.path, line=line, column=column, source=self.lines[line], width=width, facts=facts, hint=hint
        )


def _decode(data: bytes) -> tuple[str, int]:
    """The text, and the offset of the first fault in it or -1. A byte order mark selects the encoding."""
    encoding = "utf-8"
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    elif data.startswith(b"\xff\xfe"):
        data, encoding = data[2:], "utf-16-le"
    elif data.startswith(b"\xfe\xff"):
        data, encoding = data[2:], "utf-16-be"
    try:
        return data.decode(encoding), -1
    except UnicodeDecodeError as fault:
        return data.decode(encoding, "replace"), len(data[: fault.start].decode(encoding, "replace"))


# The grammar


_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*+")
_WORD = re.compile(r"[A-Za-z]+")
_KEY = re.compile(r"[A-Za-z0-9_]*")
_ROLE = re.compile(r"[A-Za-z]*")
_TOKEN = re.compile(r"[^ \t\r\n]*")
_SPACES = re.compile(r"[ \t]*")
_REST = re.compile(r"[^\r\n]*")
_CLOSE_1 = re.compile(r'"[ \t]*(?=[\r\n]|\Z)')
_CLOSE_3 = re.compile(r'"""[ \t]*(?=[\r\n]|\Z)')

# A line inside a quoted value that was surely meant as a command: a parameter or message that is right in every part, or a
# word in capitals. Prose may well begin with 'From' or 'system'.
_MEANT = (
    r"[ \t]*(?:(?i:PARAMETER)[ \t]+(?:" + "|".join([*PARAMETERS, *DEPRECATED]) + r")[ \t]+"
    r"|(?i:MESSAGE)[ \t]+(?:system|user|assistant)[ \t]+"
    r"|(?:FROM|ADAPTER|DRAFT|TEMPLATE|SYSTEM|LICENSE|RENDERER|PARSER|REQUIRES)[ \t]+)(?=[^ \t\r\n])([^\r\n]*)"
)


def _commands(source: _Source, errors: list[Error], warnings: list[Error]) -> list[Command]:
    text = source.seen
    commands: list[Command] = []
    value_start = position = 0
    while True:
        blank = position
        position = start = _BLANK.match(text, blank).end()  # type: ignore[union-attr]
        if source.drops:
            _refuse_dropped_between(source, blank, start)
        if start == len(text):
            break
        word = _WORD.match(text, start)
        name = word[0].lower() if word else ""
        position = word.end() if word else start
        if name not in INSTRUCTIONS or text[position : position + 1] not in (" ", "\t"):
            raise _not_a_command(source, start, commands, value_start, blank)
        if source.drops:
            _refuse_dropped(source, start, position)
        position += 1
        key = ""
        if name == "parameter":
            key, position = _parameter_name(source, position)
        elif name == "message":
            key, position = _role(source, position)
        value, value_start, end = _value(source, position, text[start:position].rstrip(), errors, warnings)
        if source.drops and (lost := source.dropped(position, end)):
            warnings.append(_lost(source, lost))
        commands.append(Command(name, value, key, *source.span(start, value_start)))
        position = end
    if not any(command.name == "from" or command.key == "model" for command in commands):
        raise Error(
            "no FROM line", path=source.path,
            hint="a Modelfile says what it starts from: 'FROM ./weights' or 'FROM llama3.2'",
        )  # fmt: skip
    return commands


def _value(
    source: _Source, position: int, opener: str, errors: list[Error], warnings: list[Error]
) -> tuple[str, int, int]:
    """Read a value: (what it says, where that begins, the offset of the end of its last line)."""
    text = source.seen
    begin = _SPACES.match(text, position).end()  # type: ignore[union-attr]
    if text[begin : begin + 1] != '"':
        end = _REST.match(text, begin).end()  # type: ignore[union-attr]
        return text[begin:end].rstrip(" \t"), begin, end
    quote, close = ('"""', _CLOSE_3) if text.startswith('"""', begin) else ('"', _CLOSE_1)
    inside = begin + len(quote)
    match = close.search(text, inside)
    if match is None:
        raise _unclosed(source, begin, quote, opener)
    value = text[inside : match.start()]
    if "\n" in value or "\r" in value:
        _check_swallowed(source, begin, match.end(), quote, opener, errors, warnings)
    return value, inside, match.end()


def _parameter_name(source: _Source, position: int) -> tuple[str, int]:
    text = source.seen
    match = _KEY.match(text, position)
    assert match is not None
    key, end = match[0], match.end()
    after = text[end : end + 1]
    if after not in (" ", "\t"):
        token = _TOKEN.match(text, position)[0]  # type: ignore[index]
        if key == token:
            what = f"parameter '{key}' has no value" if key else "'PARAMETER' has no name and no value"
            raise source.error(position, what, len(key) or 1, hint="write 'PARAMETER name value'")
        shown = _short(token)
        raise source.error(
            end, f"parameter name '{shown}' holds {_character(after)}, expected letters, digits and '_'",
            hint=did_you_mean(re.sub(r"[^A-Za-z0-9_].*", "", token.replace("-", "_")), PARAMETERS)
            or "write 'PARAMETER name value'",
        )  # fmt: skip
    if source.drops:
        _refuse_dropped(source, position, end, leading=0)
    return key, end + 1


def _role(source: _Source, position: int) -> tuple[str, int]:
    text = source.seen
    match = _ROLE.match(text, position)
    assert match is not None
    role, end = match[0], match.end()
    after = text[end : end + 1]
    facts = [("known", ", ".join(ROLES))]
    if not role and after in (" ", "\t"):
        raise source.error(
            position, "'MESSAGE' is followed by more than one blank, expected the role right after the first",
            hint="write 'MESSAGE user …'",
        )  # fmt: skip
    if role not in ROLES and (after in (" ", "\t") or not role):
        shown = _short(_TOKEN.match(text, position)[0])  # type: ignore[index]
        what = f"unknown role '{shown}'" if shown else "'MESSAGE' has no role and no text"
        raise source.error(position, what, len(shown) or 1, facts, did_you_mean(shown, ROLES) if shown else None)
    if after not in (" ", "\t"):
        if after in ("", "\r", "\n"):
            raise source.error(position, "message has no text", len(role), hint=f"write 'MESSAGE {role} …'")
        raise source.error(
            end, f"expected a space after the role '{role}', got {_character(after)}",
            facts=() if role in ROLES else facts, hint=f"write 'MESSAGE {role} …'" if role in ROLES else None,
        )  # fmt: skip
    if source.drops:
        _refuse_dropped(source, position, end, leading=0)
    return role, end + 1


# What the grammar says of a fault


def _not_a_command(source: _Source, start: int, before: list[Command], value_start: int, value_end: int) -> Error:
    """What to say of a line that is no command. It may be meant for the value before it, seen[value_start:value_end]."""
    text = source.seen
    word = _WORD.match(text, start)
    name = word[0] if word else ""
    after = text[start + len(name) : start + len(name) + 1]
    if name.lower() in INSTRUCTIONS:
        if after in ("", "\r", "\n"):
            return source.error(start, f"'{name}' has no value", len(name))
        return source.error(start + len(name), f"expected a space after '{name}', got {_character(after)}")
    token = _TOKEN.match(text, start)[0]  # type: ignore[index]
    shown = _short(token)
    hint: str | None
    if token.startswith("//"):
        hint = "a comment begins with '#'"
    else:
        hint = did_you_mean(name or token, [word.upper() for word in INSTRUCTIONS])
        if hint is None and before and before[-1].name in ("system", "template", "license", "message"):
            opener, line = before[-1].name.upper(), source.place(value_end)[0]
            if text[value_start - 1] != '"':
                hint = f'the value of {opener} ends with line {line}; one of several lines stands in triple quotes: """…"""'
            elif text[value_start - 3 : value_start] == '"""' and line > before[-1].line:
                hint = f'the value of {opener} ends on line {line}, the first that ends in """'
            elif line > before[-1].line:
                hint = f'the value of {opener} ends on line {line}, the first that ends in "; triple quotes go further'
    return source.error(
        start, f"unknown instruction '{shown}'", len(shown),
        [("known", ", ".join(word.upper() for word in INSTRUCTIONS))], hint,
    )  # fmt: skip


def _unclosed(source: _Source, begin: int, quote: str, opener: str) -> Error:
    text = source.seen
    facts = [("reads", f"everything to the end of the file as the value of {opener}")]
    line = _REST.match(text, begin + len(quote))
    assert line is not None
    again = line[0].rfind(quote)
    if again >= 0:
        after = begin + len(quote) + again + len(quote)
        rest = text[after : line.end()].strip(" \t")
        facts.append(("because", f"'{_short(rest)}' follows the closing {quote} on its line"))
        hint = f"nothing may stand after the closing {quote}; a comment needs a line of its own"
    else:
        hint = f"close it with {quote} at the end of a line"
    return source.error(begin, f"the opening {quote} is never closed", len(quote), facts, hint)


def _check_swallowed(
    source: _Source, begin: int, end: int, quote: str, opener: str, errors: list[Error], warnings: list[Error]
) -> None:
    """Tell a value of several lines from a quote that was never meant to run on.

    The value ends with the first line that ends in a quote. Where that line is itself a command with a quoted value, its
    quote closes what it was not written for: an error, as no sane text needs it. A command on another line inside single
    quotes may be meant (a Dockerfile in a prompt), so that is a warning; in triple quotes it is nobody's business.
    """
    text = source.seen
    begin_last = max(text.rfind("\n", begin, end), text.rfind("\r", begin, end)) + 1
    match = re.compile(_MEANT).match(text, begin_last, end)
    swallowed = False
    if match is not None:
        closing = match[1].rstrip(" \t")
        swallowed = closing.startswith(quote) or (quote == '"' and closing.count('"') % 2 == 0)
    if not swallowed:
        match = re.compile(r"(?<=[\r\n])" + _MEANT).search(text, begin, end) if quote == '"' else None
    if match is None:
        return
    line, _ = source.place(match.start())
    what = f"the opening {quote} is not closed before line {line}, which becomes part of {opener}"
    facts = [(f"line {line}", _short(match[0].strip(" \t"), 60))]
    inside = 'if that line does belong to it, write the value in triple quotes: """…"""' if quote == '"' else ""
    if swallowed:
        hint = f"close the value with {quote} at the end of its last line" + (f"; {inside}" if inside else "")
        errors.append(source.error(begin, what, len(quote), facts, hint))
    else:
        warnings.append(source.error(begin, what, len(quote), facts, inside))


def _refuse_dropped(source: _Source, start: int, end: int, leading: int = 1) -> None:
    """Refuse an invisible character in a word. Ollama forgives one before an instruction, none elsewhere."""
    before = bisect_right(source.drops, start) - bisect_left(source.drops, start)
    first = bisect_left(source.drops, start) if before > leading else bisect_right(source.drops, start)
    if first < bisect_right(source.drops, end):
        raise _invisible(source, first)


def _refuse_dropped_between(source: _Source, start: int, end: int) -> None:
    """Refuse an invisible character on a line without a command, unless it stands in a comment."""
    first = bisect_right(source.drops, start) if start else 0
    last = bisect_right(source.drops, end) if end == len(source.seen) else bisect_left(source.drops, end)
    for index in range(first, last):
        offset = source.drops[index]
        line = max(source.seen.rfind("\n", start, offset), source.seen.rfind("\r", start, offset), start - 1) + 1
        if source.seen.find("#", line, offset) < 0:
            raise _invisible(source, index)


def _invisible(source: _Source, index: int) -> Error:
    offset = source.drops[index] + index
    line, column = source.lines.place(offset)
    return Error(
        f"invisible character {_character(source.text[offset])} where an instruction stands",
        path=source.path, line=line, column=column, source=source.lines[line],
        hint="save the file as UTF-8" if source.text[offset] == "\0" else "remove it; it may come from a web page",
    )  # fmt: skip


def _lost(source: _Source, lost: Sequence[int]) -> Error:
    line, column = source.lines.place(lost[0])
    names = dict.fromkeys(_character(source.text[offset]) for offset in lost)
    count = f"{len(lost)} characters are" if len(lost) > 1 else "a character is"
    return Error(
        f"{count} lost from this value: Ollama drops what it cannot print",
        path=source.path, line=line, column=column, source=source.lines[line], facts=[("lost", listed(names, 6))],
    )  # fmt: skip


_NAMES = {
    "\t": "a tab", " ": "a space", "\n": "the end of the line", "\r": "the end of the line", "": "the end of the file",
    "\xa0": "U+00A0 (no-break space)", "\xad": "U+00AD (soft hyphen)", "\u200b": "U+200B (zero width space)",
    "\u200d": "U+200D (zero width joiner)", "\u3000": "U+3000 (ideographic space)", "\ufeff": "U+FEFF (byte order mark)",
    "\x1b": "U+001B (escape)", "\0": "U+0000 (NUL)",
}  # fmt: skip


def _character(char: str) -> str:
    if char in _NAMES:
        return _NAMES[char]
    return f"U+{ord(char):04X}" if re.match(_DROPPED, char) else f"'{char}'"


def _short(text: str, limit: int = 40) -> str:
    line = _NEWLINE.split(text, 1)[0]
    return line if len(line) <= limit and line == text else line[: limit - 1] + "…"


# The meaning


_PATHS = ("from", "adapter", "draft")
_LISTS = (*_PATHS, "license", "message")


class _Meaning:
    """What a list of commands asks for (parser/parser.go, CreateRequest), and what is wrong with it."""

    def __init__(self, source: _Source, errors: list[Error], warnings: list[Error]) -> None:
        self.source = source
        self.errors = errors
        self.warnings = warnings
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
        adapters = self.lists["adapter"]
        if len(adapters) > 1:
            facts = [("first", f"line {adapters[0].line}"), ("reads", "Ollama keeps the last and drops the others")]
            hint = 'list them in ModelBuild.toml: adapters = [{ path = "…" }, { path = "…" }]'
            self.error(adapters[1], "second ADAPTER line, expected one", facts, hint)
        return Modelfile(
            self.source.path, self.source.text, commands,
            tuple(self.lists["from"]), tuple(adapters), tuple(self.lists["draft"]),
            self.text("template"), self.text("system"), self.text("renderer"), self.text("parser"),
            self.requires,
            tuple(command.value for command in self.lists["license"]),
            tuple((command.key, command.value) for command in self.lists["message"]),
            self.parameters, tuple(self.errors), tuple(self.warnings),
        )  # fmt: skip

    def text(self, name: str) -> str | None:
        return (self.last[name].value or None) if name in self.last else None

    def error(self, command: Command, what: str, facts: _Facts = (), hint: str | None = None) -> None:
        self.errors.append(_at_value(self.source.path, self.source.lines, command, what, facts, hint))

    def warn(self, command: Command, what: str, facts: _Facts = (), hint: str | None = None) -> None:
        self.warnings.append(_at_value(self.source.path, self.source.lines, command, what, facts, hint))

    def scalar(self, command: Command) -> None:
        name, value = command.name, command.value
        self.once(command, name, name.upper())
        if name == "requires":
            try:
                self.requires = version(value)
            except Error as fault:
                self.error(command, fault.what)
        elif value and name == "template":
            self.template(command)
        elif not value:
            self.warn(
                command, f"an empty {name.upper()} counts as none and does not clear an inherited one",
                hint=f"to clear it: {name} = \"\" in ModelBuild.toml",
            )  # fmt: skip

    def template(self, command: Command) -> None:
        from modelbuild.ollama.template import check

        path, line, column = self.source.path, command.line, command.value_column
        try:
            check(command.value, path=path, line=line, column=column, source=self.source.lines[line])
        except Error as fault:
            self.errors.append(fault)

    def once(self, command: Command, name: str, shown: str) -> None:
        if (earlier := self.last.get(name)) is not None:
            self.warn(command, f"{shown} is given again: line {earlier.line} has no effect")
        self.last[name] = command

    def path(self, command: Command) -> None:
        value, name = command.value, command.name.upper()
        if not value:
            hint = "write 'FROM .' for the Modelfile's own folder" if command.name == "from" else None
            self.error(command, f"{name} has no value", hint=hint)
        elif " #" in value:
            self.warn(
                command, f"'{_short(value[value.index(' #') + 1 :])}' is part of the value of {name}",
                hint="a comment needs a line of its own",
            )  # fmt: skip
        else:
            self.single_quotes(command, name)

    def single_quotes(self, command: Command, shown: str) -> None:
        if len(command.value) > 1 and command.value[0] == command.value[-1] == "'":
            self.warn(command, f"the single quotes are part of the value of {shown}", hint='quote with "…"')

    def parameter(self, command: Command) -> None:
        key = command.key
        if key in DEPRECATED:
            self.warnings.append(self.at_key(command, unknown_parameter(key)))
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
            if re.search(_ESCAPE, command.value):
                self.warn(
                    command, "a Modelfile has no escapes: the backslash is part of the text to stop at",
                    hint='for a line break, break the line inside """…"""',
                )  # fmt: skip
            self.single_quotes(command, "stop")
            return
        self.once(command, key, f"parameter '{key}'")
        if PARAMETERS[key] == "int" and value != int(command.value):
            self.warn(command, f"'{command.value}' is stored as {value}: Ollama keeps numbers as float64")
        self.parameters[key] = value

    def unknown_parameter(self, command: Command) -> None:
        key = command.key
        meant = "from" if key == "model" else key
        if not key:
            fault = Error(
                "'PARAMETER' is followed by more than one blank",
                facts=[("reads", "Ollama takes what follows the first blank for the name, here an empty one")],
                hint="write 'PARAMETER name value'",
            )
        elif meant in INSTRUCTIONS and key not in ("from", "parameter"):
            fault = Error(
                f"'{key}' is no parameter",
                facts=[("reads", f"Ollama takes this line for {meant.upper()}")],
                hint=f"write '{meant.upper()} …'",
            )
        else:
            fault = unknown_parameter(key)
        self.errors.append(self.at_key(command, fault))

    def at_key(self, command: Command, fault: Error) -> Error:
        return Error(
            fault.what, path=self.source.path, line=command.line, column=command.column + len("PARAMETER "),
            source=self.source.lines[command.line], width=len(command.key), facts=fault.facts, hint=fault.hint,
        )  # fmt: skip


def _at_value(
    path: str, lines: _Lines, command: Command, what: str, facts: _Facts = (), hint: str | None = None
) -> Error:
    return Error(
        what, path=path, line=command.line, column=command.value_column, source=lines[command.line],
        width=len(_NEWLINE.split(command.value, 1)[0]), facts=facts, hint=hint,
    )  # fmt: skip


# Versions and parameters


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
        raise Error(f"REQUIRES expects a version such as '0.14.0', got '{_short(text)}'")
    return match[1]


_INT = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = r"[+-]?[0-9_]*\.?[0-9_]*(?:[eE][+-]?[0-9_]+)?"
_HEX = r"[+-]?0[xX](?:_?[0-9a-fA-F])*\.?(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?[pP][+-]?[0-9]{1,9}"
_NOT_FINITE = r"(?i:[+-]?inf(?:inity)?|nan)"
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_ESCAPE = r"\\[nrt\"]"


def parameter(name: str, value: object) -> Any:
    """Turn a parameter's text, or a value of TOML, into what its layer holds. Raises Error without a place.

    An int is rounded as float64 rounds it, a float as float32 (api/types.go, FormatParams, and JSON on the way).
    """
    kind = PARAMETERS.get(name)
    if kind is None:
        raise unknown_parameter(name)
    read = {"int": _int, "float": _float, "bool": _bool, "strings": _strings}[kind]
    try:
        return read(value)
    except ValueError as fault:
        got = f"'{_short(value)}'" if isinstance(value, str) else words.got(value)
        commented = isinstance(value, str) and "#" in value
        raise Error(
            f"parameter '{name}' expects {fault}, got {got}",
            hint="a comment needs a line of its own" if commented else None,
        ) from None


def unknown_parameter(name: str) -> Error:
    """What to say of a parameter that Ollama does not take."""
    if name in GONE:
        return Error(f"parameter '{name}' is gone: today's Ollama refuses it", hint="remove the line")
    if name in DEPRECATED:
        return Error(f"parameter '{name}' is deprecated: Ollama drops it")
    return Error(
        f"unknown parameter '{name}'", facts=[("known", ", ".join(sorted(PARAMETERS)))],
        hint=did_you_mean(name, PARAMETERS),
    )  # fmt: skip


def _int(value: object) -> int:
    if isinstance(value, str) and _INT.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError("a whole number of 64 bits")
    # Past 2**53 Go prints the shortest digits that mean the same float64, then zeros, as repr does.
    digits, _, power = repr(float(value)).partition("e+")
    if not power:
        return int(float(value))
    whole, _, fraction = digits.partition(".")
    return int(whole + fraction + "0" * (int(power) - len(fraction)))


def _float(value: object) -> float:
    if isinstance(value, str):
        if re.fullmatch(_NOT_FINITE, value):
            raise ValueError("a finite number")
        if re.fullmatch(_HEX, value) or re.fullmatch(_DECIMAL, value):
            try:
                value = float.fromhex(value.replace("_", "")) if "x" in value.lower() else float(value)
            except OverflowError:
                raise ValueError("a number that fits float32") from None
            except ValueError:
                raise ValueError("a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    return float32(value)


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise ValueError("'true' or 'false'")


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    raise ValueError("text, or a list of texts")


def float32(value: float) -> float:
    """The shortest decimal that float32 cannot tell from `value`, as Go prints it. Raises ValueError past its range."""
    near = _single(value)
    if math.isinf(near):
        raise ValueError("a number that fits float32")
    for digits in range(1, 9):
        # Above a power of two the floats lie twice as far apart as below, so a decimal above may be shorter.
        for aim in (near, near * (1 + 2**-25)):
            short = float(f"{aim:.{digits}g}")
            if _single(short) == near:
                return short
    return float(f"{near:.9g}")


def _single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except (OverflowError, struct.error):
        return math.inf


# Paths


_WEIGHTS = (".gguf", ".safetensors", ".bin", ".pth", ".pt", ".ggml")


def looks_like_path(argument: str) -> bool:
    """Whether a FROM that names nothing on disk was meant for a path; Ollama would take it for a model's name."""
    if argument.startswith((".", "/", "~", "\\")) or "\\" in argument or argument[1:3] in (":/", ":\\"):
        return True
    parts = argument.split("/")
    if "://" in argument or (len(parts) == 3 and re.search("[.:]", parts[0])):
        return False
    return len(parts) > 3 or parts[-1].lower().endswith(_WEIGHTS) and ":" not in parts[-1]


def expand(argument: str, folder: str) -> str:
    """The absolute path that FROM, ADAPTER or DRAFT names (parser/parser.go, expandPath). Raises Error without a place.

    folder  the Modelfile's
    """
    if "\0" in argument:
        raise Error("path holds a NUL character")
    if os.path.isabs(argument) or argument.startswith(("/", "\\")):
        return os.path.abspath(argument)
    if argument.startswith("~"):
        user, _, rest = argument[1:].partition("/")
        return os.path.abspath(os.path.join(_home(user), rest.lstrip("/")))
    return os.path.abspath(os.path.join(folder, argument))


def _home(user: str) -> str:
    """The home folder that the system's list of users gives; $HOME only where there is no such list."""
    try:
        import pwd
    except ImportError:
        return os.path.expanduser("~" + user)
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir
    except KeyError:
        if not user and "HOME" in os.environ:
            return os.environ["HOME"]
        who = f"user '{user}'" if user else f"user number {os.getuid()}"
        raise Error(f"no {who} on this machine, so no home folder for '~{user}'") from None


# Printing


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
    if name == "parameter" and not _KEY.fullmatch(key):
        raise Error(f"no Modelfile can name a parameter '{key}'")
    if name == "message" and key not in ROLES:
        raise Error(f"unknown role '{key}'", hint=did_you_mean(key, ROLES))
    words = f"{name.upper()} {key}" if name in ("parameter", "message") else name.upper()
    return f"{words} {_quoted(command.value, words)}\n"


def _quoted(value: str, words: str) -> str:
    if lost := re.search(_DROPPED, value):
        raise Error(f"no Modelfile can hold {_character(lost[0])} in the value of {words}", hint="Ollama drops it")
    if "\n" in value or "\r" in value:
        if re.search(r'"""[ \t]*[\r\n]', value):
            raise Error(f'no Modelfile can hold a line that ends in """ in the value of {words}')
        return f'"""{value}"""'
    if value and value[0] not in '" \t' and value[-1] not in " \t":
        return value
    return f'"""{value}"""' if value.startswith('"') else f'"{value}"'
