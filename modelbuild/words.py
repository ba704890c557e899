"""How values, sizes and names read in errors and tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

BITS_LIMIT = 14_000
"""Of a number that is written in decimal. Python stops at 4300 digits, and TOML's hexadecimal numbers may have more."""


def as_text(value: str | int | float | bool) -> str:
    """A scalar as it reads inside a string, in a tag, as the label of a row."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > BITS_LIMIT:
        return hex(value)
    return value if isinstance(value, str) else str(value)


def got(value: object) -> str:
    """A value as an error names it, in TOML's words."""
    if isinstance(value, str):
        return f"'{cut(value, 60)}'"
    if isinstance(value, int | float):
        text = as_text(value)
        return text if len(text) <= 60 else f"{text[:59]}…"
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def in_json(value: object) -> str:
    """A value as an error names it, in JSON's words."""
    import json

    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {int: "the number", float: "the number", str: "the text"}
    if type(value) in names:
        if isinstance(value, int) and value.bit_length() > BITS_LIMIT:
            return "a number of thousands of digits"
        shown = json.dumps(value[:61] if isinstance(value, str) else value, ensure_ascii=False)
        return f"{names[type(value)]} {shown if len(shown) <= 60 else shown[:59] + '…'}"
    return "a list" if isinstance(value, list) else "an object"


def size(count: float) -> str:
    """Bytes as people read them, in powers of a thousand, as Ollama shows them."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            break
    return f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as people read them: with hundredths, and as a clock from 100 on."""
    return f"{seconds:.2f} s" if seconds < 99.995 else clock(seconds)


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where it takes some."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def cut(text: str, limit: int) -> str:
    """The start of a text, with an ellipsis where it goes on: at most `limit` characters, and no word broken if that can be."""
    if len(text) <= limit:
        return text
    start = text[: limit - 1]
    if not text[limit - 1].isspace():
        whole = start.rstrip().rpartition(" ")[0] if " " in start else ""
        start = whole if len(whole) > limit // 2 else start
    return start.rstrip() + "…"


def plural(count: int, noun: str) -> str:
    """A number of things: '1 step', '1,234 steps'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that a misspelled one was meant for, in any case of its letters; None where none is near.

    `cutoff` is how much of both must be alike: more of it where most words are meant as they stand.
    """
    import difflib

    by_fold = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=cutoff)
    return by_fold[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known word, or None when nothing is near."""
    near = nearest(name, known)
    return f"did you mean '{near}'?" if near else None


def did_you_mean_within(name: str, known: Iterable[str]) -> str | None:
    """The same where known words are PART/WORD, and the part may have been left out."""
    known = list(known)
    if hint := did_you_mean(name, known):
        return hint
    words: dict[str, list[str]] = {}
    for each in known:
        if "/" in each:
            words.setdefault(each.partition("/")[2], []).append(each)
    near = nearest(name, words)
    if near is None:
        return None
    meant = [f"'{each}'" for each in words[near]]
    return f"did you mean {meant[0]}?" if len(meant) == 1 else f"did you mean one of {listed(meant, 4)}?"


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names for a fact line, comma-separated; past `limit` the middle is cut."""
    words = list(names)
    if len(words) > limit:
        words = [*words[: limit - 2], "…", words[-1]]
    return ", ".join(words)


_CHARACTERS = {
    "\t": "a tab", " ": "a space", "\n": "the end of the line", "\r": "the end of the line", "": "the end of the file",
    "\xa0": "U+00A0 (no-break space)", "\xad": "U+00AD (soft hyphen)", "\u200b": "U+200B (zero width space)",
    "\u200d": "U+200D (zero width joiner)", "\u3000": "U+3000 (ideographic space)", "\ufeff": "U+FEFF (byte order mark)",
    "\x1b": "U+001B (escape)", "\0": "U+0000 (NUL)",
}  # fmt: skip


def character(char: str) -> str:
    """What errors call a character; the empty one is the end of the file."""
    if char in _CHARACTERS:
        return _CHARACTERS[char]
    return f"'{char}'" if char.isprintable() else f"U+{ord(char):04X}"


# Controls of a terminal and of the direction of text, but tab and line break.
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (
        *range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)
    )
    if chr(code) not in "\t\n"
}  # fmt: skip
_LINE = {**_CONTROLS, ord("\t"): "\\t", ord("\n"): "\\n"}


def harmless(text: str) -> str:
    """A text that does nothing to a terminal, whatever somebody put into the names in it."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def in_line(text: str) -> str:
    """A name or a text within a line: harmless, and its line breaks spelled out."""
    return text if text.isprintable() else text.translate(_LINE)


def harmless_json(text: str) -> str:
    """JSON that does nothing to a terminal, and means the same."""
    return text if text.isascii() else text.translate({code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x7F})


SHOWN = 80
"""Characters of a value from a file that an error shows."""


def shown(value: Any) -> str:
    """A value from a file, short and printable."""
    text = value[: SHOWN + 1] if isinstance(value, str) else _start(value)
    text = text.encode("utf-8", "replace").decode() if text.isprintable() else ascii(text)[1:-1]
    return cut(text, SHOWN)


def _start(value: Any) -> str:
    """The start of a value's JSON, however long and deep it is."""
    import json

    text = ""
    try:
        for part in json.JSONEncoder().iterencode(value):
            text += part
            if len(text) > SHOWN:
                break
    except ValueError:
        return "a number of thousands of digits"
    return text
