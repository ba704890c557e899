"""A terminal that remembers: runs a command on a pseudo-terminal and keeps what stands on its screen, and what was wrapped."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unicodedata
from collections.abc import Sequence
from pathlib import Path

_CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


class Screen:
    """So many columns, and lines without end. Knows what rich and we write, and refuses the rest.

    wrapped  lines that went on below because they were too long for the terminal, as far as they fit
    drawn    every picture of the whole screen, taken before something was erased
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines: list[list[str]] = [[]]
        self.wrapped: list[str] = []
        self.drawn: list[list[str]] = []
        self._row = 0
        self._column = 0

    def text(self) -> list[str]:
        """The lines as they stand."""
        return ["".join(line).rstrip() for line in self.lines]

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = _CONTROL.match(text, at)
                assert found, f"unknown sequence {text[at : at + 12]!r}"
                self._control(found[1], found[2])
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def _control(self, number: str, letter: str) -> None:
        if letter == "A":
            self._row = max(0, self._row - int(number or 1))
        elif letter == "K":
            assert number == "2", number
            self.drawn.append(self.text())
            self.lines[self._row] = []
        elif letter == "J":
            assert number == "", number
            self.drawn.append(self.text())
            del self.lines[self._row + 1 :]
            self.lines[self._row] = self.lines[self._row][: self._column]
        else:
            assert letter in "mhl", f"unknown sequence {number}{letter}"

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
            return
        if char == "\n":
            self._down()
            return
        assert char.isprintable() or unicodedata.category(char) == "Cf", f"unknown character {char!r}"
        wide = 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if self._column + wide > self.columns:
            self.wrapped.append("".join(self.lines[self._row]))
            self._column = 0
            self._down()
        line = self.lines[self._row]
        line += [" "] * (self._column - len(line))
        # A wide character takes two cells, of which the second is empty.
        line[self._column : self._column + wide] = [char, ""][:wide]
        self._column += wide

    def _down(self) -> None:
        self._row += 1
        while len(self.lines) <= self._row:
            self.lines.append([])


def run(command: Sequence[str], columns: int, folder: Path | None = None, both: bool = True) -> tuple[int, Screen]:
    """Run a command with stderr, and stdout too if `both`, on a terminal; returns its exit code and the screen."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    }
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave if both else subprocess.DEVNULL,
        stderr=slave,
        cwd=folder,
        env={**env, "TERM": "xterm-256color"},
    )
    os.close(slave)
    seen = bytearray()
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        if not data:
            break
        seen += data
    os.close(master)
    screen = Screen(columns)
    screen.feed(seen.decode())
    return process.wait(60), screen
