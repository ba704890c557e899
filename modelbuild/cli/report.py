"""The only printer: results go to stdout, everything else to stderr, as text or as JSON objects."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, TextIO

from modelbuild.cli.places import here, nearer
from modelbuild.cli.tables import GAP, hanging
from modelbuild.errors import Error, render
from modelbuild.words import harmless, harmless_json

VERSION = 1
"""`v` of every event; it is raised if a member goes, or means something else."""

Color = Literal["auto", "always", "never"]

NOTED = 64
"""Notes that are remembered, so that a watch does not repeat them."""

LONG = 200
"""Characters of a fact that is told once, however many errors have it."""

_ANSI = {"bold": "1", "dim": "2", "red": "1;31", "green": "32", "yellow": "33"}


class Report:
    """What the user sees. `quiet` leaves errors alone; `verbose` adds the steps that were cached."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        color: Color = "auto",
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.color = _colored(color, self.err)
        self.base: str | None = None
        self.options: Sequence[str] = ()
        self._noted: deque[str] = deque(maxlen=NOTED)
        self.begin()

    def begin(self) -> None:
        """Count the time from now, and tell everything anew."""
        self._begun = time.perf_counter()
        self._long: set[tuple[str, str]] = set()

    def result(self, text: str) -> None:
        """What the command was asked for, as text for people."""
        self.document(harmless(text))

    def document(self, text: str) -> None:
        """What the command was asked for, as a text that something reads."""
        self._out(text if text.endswith("\n") else text + "\n")

    def stream(self, text: str) -> None:
        """A part of what the command was asked for, at once; a terminal gets nothing that it would obey."""
        self._out(harmless(text) if self.on_terminal else text)
        self.out.flush()

    def aside(self, text: str) -> None:
        """A part of a note of less weight, at once."""
        if not self.quiet:
            self.err.write(self.paint(harmless(text), "dim"))
            self.err.flush()

    def redraw(self, text: str) -> None:
        """Replace the last line of a terminal, which has no end yet."""
        self.err.write(f"\r\x1b[2K{harmless(text)}")
        self.err.flush()

    def data(self, value: Any) -> None:
        """What the command was asked for, as JSON."""
        self.document(harmless_json(json.dumps(value, indent=2, ensure_ascii=False)))

    def object(self, event: Mapping[str, Any]) -> None:
        """One line of a stream of JSON objects."""
        self._out(harmless_json(json.dumps({"v": VERSION, **event}, ensure_ascii=False)) + "\n")
        self.out.flush()

    def _out(self, text: str) -> None:
        try:
            self.out.write(text)
        except UnicodeEncodeError:
            # Names of files may hold bytes that are no text, and stdout need not be UTF-8.
            encoding = self.out.encoding or "utf-8"
            self.out.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def note(self, text: str) -> None:
        """A note beside the result."""
        self.marked("", "", text)

    def marked(self, word: str, color: str, text: str) -> None:
        """A note that begins with a word in a colour, which is no part of the text that is made harmless and wrapped."""
        if not self.quiet:
            # A note comes last, also where both streams go to one file.
            self.out.flush()
            whole = hanging(harmless(word + self._here(text)), width(self.err), GAP)
            self.err.write((self.paint(word, color) if color else word) + whole.removeprefix(word) + "\n")

    def note_once(self, text: str) -> None:
        """The same, unless a build before, of the same watch, has said it."""
        if text not in self._noted:
            self._noted.append(text)
            self.note(text)

    def error(self, error: Error, *, told: bool = False) -> None:
        """Show an error; with --json also as an object, unless the JSON result has `told` of it."""
        self._trouble("error", "red", error, told)

    def warning(self, error: Error, *, told: bool = False) -> None:
        """Show a warning, in the same way as `error`."""
        if not self.quiet:
            self._trouble("warning", "yellow", error, told)

    def remark(self, error: Error, *, minor: bool, told: bool = False) -> None:
        """Show a warning; a `minor` one is a note, with --verbose."""
        if not minor:
            self.warning(error, told=told)
        elif self.verbose and not self.quiet:
            self._trouble("note", "dim", error, told)

    def errors(self, errors: Iterable[Error], *, told: bool = False) -> None:
        """Show several errors, an empty line between them. What stops several models is said once."""
        for number, error in enumerate({self.rendered(error): error for error in errors}.values()):
            if number:
                self.err.write("\n")
            self.error(error, told=told)

    def _trouble(self, severity: str, color: str, error: Error, told: bool) -> None:
        text = harmless(self._fitted(self._shorter(error), severity))
        self.err.write(self.paint(severity, color) + text.removeprefix(severity) + "\n")
        if self.as_json and not told:
            self.object({"event": severity, **self.described(error, severity)})

    def _shorter(self, error: Error) -> Error:
        """An error whose long facts are not told again, such as all the names that are known."""
        facts = [(label, "as above" if (label, value) in self._long else value) for label, value in error.facts]
        self._long.update(fact for fact in error.facts if len(fact[1]) > LONG)
        return error.replace(facts=facts)

    def rendered(self, error: Error, severity: str = "error") -> str:
        """An error for people."""
        return render(self._near(error), severity)

    def _fitted(self, error: Error, severity: str) -> str:
        """An error as stderr takes it: on a terminal wrapped between words."""
        room = width(self.err)
        return render(self._near(error), severity, lambda line, indent: hanging(line, room, indent), room)

    def _near(self, error: Error) -> Error:
        near = nearer(error, self.base, here())
        return near.replace(hint=self._here(near.hint)) if near.hint and self.options else near

    def _here(self, text: str) -> str:
        """A text whose commands in backquotes are for this project: with the options that this one was found by."""
        if not self.options or "`modelbuild" not in text:
            return text
        import shlex

        given = list(zip(self.options[::2], self.options[1::2], strict=True))

        def command(found: re.Match[str]) -> str:
            words = found[1].split()
            # A command may mean something else by a word without a value: `clean --cache`.
            said = [word for word, value in pairwise(words) if not value.startswith("-")]
            missing = [f"{option} {shlex.quote(value)}" for option, value in given if option not in said]
            return f"`{' '.join(['modelbuild', *missing, *words])}`"

        return re.sub("`modelbuild((?: [^`]*)?)`", command, text)

    def described(self, error: Error, severity: str = "error") -> dict[str, Any]:
        """An error for programs."""
        near = self._near(error)
        return {"message": near.what, "place": near.place or None, "text": render(near, severity)}

    @property
    def on_terminal(self) -> bool:
        """Whether stdout is a terminal, which need not have a width."""
        return self.out.isatty()

    @property
    def width(self) -> int | None:
        """Columns for what goes to stdout; None where it is no terminal, and nothing need be cut."""
        return width(self.out)

    def paint(self, text: str, color: str) -> str:
        """The text in a colour, where stderr takes colours."""
        return f"\x1b[{_ANSI[color]}m{text}\x1b[0m" if self.color else text

    @property
    def seconds(self) -> float:
        """Since the command began."""
        return time.perf_counter() - self._begun


def width(stream: TextIO) -> int | None:
    """The columns of a terminal; None for another stream."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except (OSError, ValueError):
        return None


def _colored(color: Color, stream: TextIO) -> bool:
    if color != "auto":
        return color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")
