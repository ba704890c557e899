"""The grammar of Modelfiles (parser/parser.go, ParseFile, parseRuneForState, unquote): a text becomes commands."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from modelbuild.errors import Error
from modelbuild.ollama.modelfile.parameters import DEPRECATED, PARAMETERS
from modelbuild.ollama.modelfile.source import Source, short
from modelbuild.tuples import NamedTuple
from modelbuild.words import character, did_you_mean, listed

INSTRUCTIONS = (
    "from", "adapter", "draft", "template", "system", "parameter", "message", "license", "renderer", "parser",
    "requires",
)  # fmt: skip
ROLES = ("system", "user", "assistant")


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


_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*+")
_WORD = re.compile(r"[A-Za-z]+")
KEY = re.compile(r"[A-Za-z0-9_]*")
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


def commands(source: Source) -> tuple[Command, ...]:
    """The commands of a text, in order. Raises Error where Ollama's parser stops."""
    text = source.seen
    found: list[Command] = []
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
            raise _not_a_command(source, start, found, value_start, blank)
        if source.drops:
            _refuse_dropped(source, start, position)
        position += 1
        key = ""
        if name == "parameter":
            key, position = _parameter_name(source, position)
        elif name == "message":
            key, position = _role(source, position)
        value, value_start, end = _value(source, position, text[start:position].rstrip())
        if source.drops and (lost := source.dropped(position, end)):
            source.warnings.append(_lost(source, lost))
        found.append(Command(name, value, key, *source.span(start, value_start)))
        position = end
    if not any(command.name == "from" or command.key == "model" for command in found):
        raise Error(
            "no FROM line", path=source.path,
            hint="a Modelfile needs a FROM: 'FROM ./weights' or 'FROM llama3.2'",
        )  # fmt: skip
    return tuple(found)


def _value(source: Source, position: int, opener: str) -> tuple[str, int, int]:
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
        _check_swallowed(source, begin, match.end(), quote, opener)
    return value, inside, match.end()


def _parameter_name(source: Source, position: int) -> tuple[str, int]:
    text = source.seen
    match = KEY.match(text, position)
    assert match is not None
    key, end = match[0], match.end()
    after = text[end : end + 1]
    if after not in (" ", "\t"):
        token = _TOKEN.match(text, position)[0]  # type: ignore[index]
        if key == token:
            what = f"parameter '{key}' has no value" if key else "'PARAMETER' has no name and no value"
            raise source.error(position, what, len(key) or 1, hint="write 'PARAMETER name value'")
        shown = short(token)
        raise source.error(
            end, f"parameter name '{shown}' contains {character(after)}, expected letters, digits and '_'",
            hint=did_you_mean(re.sub(r"[^A-Za-z0-9_].*", "", token.replace("-", "_")), PARAMETERS)
            or "write 'PARAMETER name value'",
        )  # fmt: skip
    if source.drops:
        _refuse_dropped(source, position, end, leading=0)
    return key, end + 1


def _role(source: Source, position: int) -> tuple[str, int]:
    text = source.seen
    match = _ROLE.match(text, position)
    assert match is not None
    role, end = match[0], match.end()
    after = text[end : end + 1]
    facts = [("known", ", ".join(ROLES))]
    if not role and after in (" ", "\t"):
        raise source.error(
            position, "'MESSAGE' is followed by more than one space, expected the role after the first",
            hint="write 'MESSAGE user …'",
        )  # fmt: skip
    if role not in ROLES and (after in (" ", "\t") or not role):
        shown = short(_TOKEN.match(text, position)[0])  # type: ignore[index]
        what = f"unknown role '{shown}'" if shown else "'MESSAGE' has no role and no text"
        raise source.error(position, what, len(shown) or 1, facts, did_you_mean(shown, ROLES) if shown else None)
    if after not in (" ", "\t"):
        if after in ("", "\r", "\n"):
            raise source.error(position, "message has no text", len(role), hint=f"write 'MESSAGE {role} …'")
        raise source.error(
            end, f"expected a space after the role '{role}', got {character(after)}",
            facts=() if role in ROLES else facts, hint=f"write 'MESSAGE {role} …'" if role in ROLES else None,
        )  # fmt: skip
    if source.drops:
        _refuse_dropped(source, position, end, leading=0)
    return role, end + 1


# What is said of a fault


def _not_a_command(source: Source, start: int, before: list[Command], value_start: int, value_end: int) -> Error:
    """What to say of a line that is no command. It may be meant for the value before it, seen[value_start:value_end]."""
    text = source.seen
    word = _WORD.match(text, start)
    name = word[0] if word else ""
    after = text[start + len(name) : start + len(name) + 1]
    if name.lower() in INSTRUCTIONS:
        if after in ("", "\r", "\n"):
            return source.error(start, f"'{name}' has no value", len(name))
        return source.error(start + len(name), f"expected a space after '{name}', got {character(after)}")
    token = _TOKEN.match(text, start)[0]  # type: ignore[index]
    shown = short(token)
    hint: str | None
    if token.startswith("//"):
        hint = "a comment begins with '#'"
    else:
        hint = _elsewhere(name.lower(), text[start:].split("\n", 1)[0])
        hint = hint or did_you_mean(name or token, [word.upper() for word in INSTRUCTIONS])
        if hint is None and before and before[-1].name in ("system", "template", "license", "message"):
            opener, line = before[-1].name.upper(), source.place(value_end)[0]
            if text[value_start - 1] != '"':
                hint = f'the value of {opener} ends with line {line}; a value of several lines needs triple quotes: """…"""'
            elif text[value_start - 3 : value_start] == '"""' and line > before[-1].line:
                hint = f'the value of {opener} ends on line {line}, the first line that ends in """'
            elif line > before[-1].line:
                hint = f'the value of {opener} ends on line {line}, the first line that ends in "; triple quotes allow more lines'
    return source.error(
        start, f"unknown instruction '{shown}'", len(shown),
        [("known", ", ".join(word.upper() for word in INSTRUCTIONS))], hint,
    )  # fmt: skip


def _elsewhere(name: str, line: str) -> str | None:
    """A hint for a line that would be right with PARAMETER before it, or in another place than a Modelfile."""
    words = line.split()
    if len(words) == 2 and name in PARAMETERS:
        return f"write 'PARAMETER {name} {short(words[1])}'"
    if len(words) == 2 and name == "quantize":
        return "the option -q TYPE quantizes, or `quantize` in a ModelBuild.toml"
    return None


def _unclosed(source: Source, begin: int, quote: str, opener: str) -> Error:
    text = source.seen
    facts = [("Ollama", f"reads everything to the end of the file as the value of {opener}")]
    line = _REST.match(text, begin + len(quote))
    assert line is not None
    again = line[0].rfind(quote)
    if again >= 0:
        after = begin + len(quote) + again + len(quote)
        rest = text[after : line.end()].strip(" \t")
        facts.append(("because", f"'{short(rest)}' follows the closing {quote} on its line"))
        hint = f"nothing may follow the closing {quote}; put a comment on its own line"
    else:
        hint = f"close it with {quote} at the end of a line"
    return source.error(begin, f"the opening {quote} is never closed", len(quote), facts, hint)


def _check_swallowed(source: Source, begin: int, end: int, quote: str, opener: str) -> None:
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
    facts = [(f"line {line}", short(match[0].strip(" \t"), 60))]
    inside = 'if that line is part of it, write the value in triple quotes: """…"""' if quote == '"' else ""
    if swallowed:
        hint = f"close the value with {quote} at the end of its last line" + (f"; {inside}" if inside else "")
        source.errors.append(source.error(begin, what, len(quote), facts, hint))
    else:
        source.warnings.append(source.error(begin, what, len(quote), facts, inside))


def _refuse_dropped(source: Source, start: int, end: int, leading: int = 1) -> None:
    """Refuse an invisible character in a word. Ollama forgives one before an instruction, none elsewhere."""
    before = bisect_right(source.drops, start) - bisect_left(source.drops, start)
    first = bisect_left(source.drops, start) if before > leading else bisect_right(source.drops, start)
    if first < bisect_right(source.drops, end):
        raise _invisible(source, first)


def _refuse_dropped_between(source: Source, start: int, end: int) -> None:
    """Refuse an invisible character on a line without a command, unless it stands in a comment."""
    first = bisect_right(source.drops, start) if start else 0
    last = bisect_right(source.drops, end) if end == len(source.seen) else bisect_left(source.drops, end)
    for index in range(first, last):
        offset = source.drops[index]
        line = max(source.seen.rfind("\n", start, offset), source.seen.rfind("\r", start, offset), start - 1) + 1
        if source.seen.find("#", line, offset) < 0:
            raise _invisible(source, index)


def _invisible(source: Source, index: int) -> Error:
    offset = source.drops[index] + index
    line, column = source.lines.place(offset)
    return Error(
        f"invisible character {character(source.text[offset])} in place of an instruction",
        path=source.path, line=line, column=column, source=source.lines[line],
        hint="save the file as UTF-8" if source.text[offset] == "\0" else "remove it; it may have been copied from a web page",
    )  # fmt: skip


def _lost(source: Source, lost: Sequence[int]) -> Error:
    line, column = source.lines.place(lost[0])
    names = dict.fromkeys(character(source.text[offset]) for offset in lost)
    count = f"{len(lost)} characters are" if len(lost) > 1 else "a character is"
    return Error(
        f"{count} lost from this value: Ollama drops what it cannot print",
        path=source.path, line=line, column=column, source=source.lines[line], facts=[("lost", listed(names, 6))],
    )  # fmt: skip
