"""The text of a Modelfile: the characters that the grammar sees, and the place of each in the file."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from modelbuild.errors import Error

NEWLINE = re.compile(r"\r\n|\r|\n")

# Ollama keeps what Go's unicode.IsPrint holds for printable. Written out rather than asked of `str.isprintable`, so that
# one text gives the same bytes under every version of Python. What Unicode has yet to assign is kept.
DROPPED = (
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f"
    "\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ud800-\uf8ff\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    "\U000f0000-\U000ffffd\U00100000-\U0010fffd]"
)
Facts = Sequence[tuple[str, str]]
_LAYOUT = str.maketrans("", "", "\t\r\n")


class Lines:
    """Lines of a text, by number and by offset. CR, LF and CRLF each end one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in NEWLINE.finditer(text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, from 1."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def __getitem__(self, line: int) -> str:
        """A line as it can be shown: without its end, and with a sign for each character that a terminal might obey."""
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        return re.sub(DROPPED, "\ufffd", self.text[self.starts[line - 1] : end].rstrip("\r\n"))


class Source:
    """A decoded Modelfile: the text that the grammar sees, where each of its offsets stands in the file, and what is wrong with it.

    seen              the text without the characters that Ollama drops
    drops             for each dropped character the offset in `seen` that it stood before
    errors, warnings  what has been found so far; see Modelfile
    """

    def __init__(self, data: str | bytes, path: str) -> None:
        self.path = path
        self.errors: list[Error] = []
        self.warnings: list[Error] = []
        broken = -1
        if isinstance(data, bytes):
            text, broken = _decode(data)
        else:
            text = data.removeprefix("\ufeff")
        self.text = self.seen = text
        self.drops: list[int] = []
        self.lines = Lines(text)
        if not text.translate(_LAYOUT).isprintable():
            self.drops = [match.start() - count for count, match in enumerate(re.finditer(DROPPED, text))]
            if self.drops:
                self.seen = re.sub(DROPPED, "", text)
        if broken >= 0:
            line, column = self.lines.place(broken)
            self.warnings.append(
                Error(
                    "text is not UTF-8; each unreadable byte becomes '\ufffd'",
                    path=path, line=line, column=column, source=self.lines[line],
                    hint="save the file as UTF-8",
                )
            )  # fmt: skip

    def original(self, offset: int) -> int:
        """The offset in `text` of one in `seen`."""
        return offset + bisect_right(self.drops, offset) if self.drops else offset

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column in the file of an offset in `seen`."""
        return self.lines.place(self.original(offset))

    def span(self, start: int, end: int) -> tuple[int, int, int]:
        """The line of two offsets on one line, and their columns."""
        line, column = self.place(start)
        return line, column, column + self.original(end) - self.original(start)

    def dropped(self, start: int, end: int) -> Sequence[int]:
        """Offsets in the text of the characters dropped from seen[start:end], those right before and after it included."""
        first, last = bisect_left(self.drops, start), bisect_right(self.drops, end)
        return [self.drops[index] + index for index in range(first, last)]

    def error(self, offset: int, what: str, width: int = 1, facts: Facts = (), hint: str | None = None) -> Error:
        """An error that points at an offset in `seen`."""
        line, column = self.place(offset)
        return Error(
            what, path=self.path, line=line, column=column, source=self.lines[line], width=width, facts=facts, hint=hint
        )


def _decode(data: bytes) -> tuple[str, int]:
    """The text, and the offset of the first fault in it or -1. A byte order mark selects the encoding."""
    encoding, is_marked = "utf-8", data.startswith(b"\xef\xbb\xbf")
    if is_marked:
        data = data[3:]
    elif data.startswith(b"\xff\xfe"):
        data, encoding = data[2:], "utf-16-le"
    elif data.startswith(b"\xfe\xff"):
        data, encoding = data[2:], "utf-16-be"
    try:
        return data.decode(encoding), -1
    except UnicodeDecodeError as fault:
        first = len(data[: fault.start].decode(encoding, "replace"))
        if is_marked:
            # Behind the mark no decoder stands between the file and Go, which gives a sign for each broken byte.
            return re.sub("[\udc80-\udcff]", "\ufffd", data.decode(encoding, "surrogateescape")), first
        return data.decode(encoding, "replace"), first


def short(text: str, limit: int = 40) -> str:
    """A text as errors show it: the first line, no longer than the limit."""
    line = NEWLINE.split(text, 1)[0]
    return line if len(line) <= limit and line == text else line[: limit - 1] + "…"
