"""Tables and lines that fit a terminal: columns counted as it shows them, wrapped between words, dropped where there is no room."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence

from modelbuild.tuples import NamedTuple
from modelbuild.words import in_line

GAP = 2
MARK = 9
"""Columns of the word that a line begins with: built, pulling, written."""
COMFORTABLE = 24
"""Columns to which a column is wrapped before others are dropped."""
LEAST = 8

_WORDS = r"`[^`]*`\S*\s*|\S+\s*|\s+"
_PIECES = r"[^\s/:,._+=-]*[/:,._+=-]*\s*"
_COLOR = r"\x1b\[[0-9;]*m"
_DIGEST = r"\b(sha256[:-][0-9a-f]{12})[0-9a-f]{52}\b"


class Column(NamedTuple):
    """A column: its title, whether it is set right, whether its cells may be wrapped, and when it is dropped: 1 first, 0 never."""

    title: str
    right: bool = False
    wrap: bool = False
    drop: int = 0


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if "\x1b" in text:
        text = re.sub(_COLOR, "", text)
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def short_digests(text: str) -> str:
    """A text with the first twelve digits of each digest."""
    return re.sub(_DIGEST, r"\1", text)


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of so many columns: broken between words, in a longer word behind a sign, else wherever it must be.

    A command in backquotes is one word: half a command must not be copied.
    """
    lines = [""]
    for word in re.findall(_WORDS, text):
        if columns(lines[-1] + word.rstrip()) <= width:
            lines[-1] += word
            continue
        for piece in [word] if columns(word.rstrip()) <= width else _pieces(word, width):
            if columns(lines[-1] + piece.rstrip()) <= width:
                lines[-1] += piece
            else:
                lines.append(piece)
    return [line.rstrip() for line in lines if line.strip()] or [""]


def _pieces(word: str, width: int) -> Iterator[str]:
    for piece in filter(None, re.findall(_PIECES, word)):
        line = ""
        for char in piece:
            if line and columns(line + char) > width:
                yield line
                line = ""
            line += char
        yield line


def hanging(text: str, width: int | None, indent: int) -> str:
    """A line that goes on `indent` columns further right where it does not fit."""
    if width is None or columns(text) <= width or indent + LEAST > width:
        return text
    head = re.match(r"\s*", text)
    lead = head[0] if head else ""
    first, *rest = wrapped(text[len(lead) :], width - indent)
    return "\n".join([lead + first, *(" " * indent + line for line in rest)])


def table(head: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Columns of text, two blanks apart; within `width` columns if that is given and can be."""
    shown = list(range(len(head)))
    rows = [[in_line(cell) for cell in row] for row in rows]
    natural = [max(columns(row[at]) for row in ([each.title for each in head], *rows)) for at in shown]
    widths = dict(zip(shown, natural, strict=True))
    if width is not None:
        for at in sorted((at for at in shown if head[at].drop), key=lambda at: head[at].drop):
            if _least(head, widths, shown, COMFORTABLE) <= width:
                break
            shown.remove(at)
        widths = _shrunk(head, widths, shown, width)
    lines: list[str] = []
    for row in ([each.title for each in head], *rows):
        cells = [wrapped(row[at], widths[at]) if columns(row[at]) > widths[at] else [row[at]] for at in shown]
        for number in range(max(map(len, cells))):
            parts = [
                _set(cell[number] if number < len(cell) else "", widths[at], head[at].right)
                for at, cell in zip(shown, cells, strict=True)
            ]
            lines.append((" " * GAP).join(parts).rstrip())
    return "\n".join(lines)


def inner(width: int | None) -> int | None:
    """The columns of a table that is indented."""
    return None if width is None else width - GAP


def indented(text: str) -> str:
    """A table below a line of its own."""
    return "\n".join(" " * GAP + line for line in text.split("\n"))


def _least(head: Sequence[Column], widths: dict[int, int], shown: Sequence[int], least: int) -> int:
    return sum(min(widths[at], least) if head[at].wrap else widths[at] for at in shown) + GAP * (len(shown) - 1)


def _shrunk(head: Sequence[Column], widths: dict[int, int], shown: Sequence[int], width: int) -> dict[int, int]:
    """The widths with the widest of the columns that may be wrapped made narrower, as far as that takes."""
    found = dict(widths)
    can = [at for at in shown if head[at].wrap]
    while sum(found[at] for at in shown) + GAP * (len(shown) - 1) > width and can:
        widest = max(can, key=lambda at: found[at])
        if found[widest] <= LEAST:
            break
        found[widest] -= 1
    return found


def _set(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - columns(text))
    return blanks + text if right else text + blanks


def laid_out(rows: Sequence[Sequence[str]], width: int | None) -> str:
    """Keys, values and places. A value without a place may use the columns of the places."""
    rows = [[in_line(cell) for cell in row] for row in rows]
    keys, values, places = (max((columns(row[at]) for row in rows if at == 0 or row[2]), default=0) for at in range(3))
    room = None
    if width is not None:
        keys = min(keys, width // 2)
        room = max(width - keys - GAP, 2 * LEAST)
        if values + GAP + places > room:
            places = min(places, max(room - values - GAP, room // 2))
            values = room - places - GAP
    lines = []
    for key, value, place in rows:
        cells = [[key], [value], [place]]
        if room is not None:
            # A path that goes on below could not be copied; a terminal breaks it without a line's end.
            is_file = not place and os.path.isabs(value)
            lines_ = [value] if is_file else wrapped(short_digests(value), values if place else room)
            cells = [wrapped(key, keys), lines_, wrapped(place, places)]
        for number in range(max(map(len, cells))):
            named, told, beside = (cell[number] if number < len(cell) else "" for cell in cells)
            gap = " " * (values - columns(told)) if beside else ""
            lines.append(f"{named}{' ' * (keys - columns(named))}  {told}{gap}  {beside}".rstrip())
    return "\n".join(lines)
