"""A terminal whose last lines are taken back, so that the next ones replace them."""

from __future__ import annotations

import os
import re
from typing import Any, TextIO

from modelbuild.cli.tables import columns

_CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\r|\n")


class Redrawn:
    """Writes to a terminal, and knows which lines stand there since `clear`. Understands what rich and we write."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lines = [0]
        """The columns of each line."""
        self._row = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        at = 0
        for found in _CONTROL.finditer(text):
            self._lines[self._row] += columns(text[at : found.start()])
            at = found.end()
            self._obey(found)
        self._lines[self._row] += columns(text[at:])
        return self.stream.write(text)

    def _obey(self, found: re.Match[str]) -> None:
        if found[0] == "\n":
            self._row += 1
            if self._row == len(self._lines):
                self._lines.append(0)
        elif found[2] == "A":
            self._row = max(0, self._row - int(found[1] or 1))
        elif found[2] == "K":
            self._lines[self._row] = 0

    def clear(self) -> None:
        """Take back everything since the last time, as far as it has not been scrolled away."""
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            return
        above = sum(max(1, -(-line // (size.columns or 80))) for line in self._lines[: self._row])
        above = min(above, max(0, (size.lines or 24) - 1))
        self.stream.write("\r" + (f"\x1b[{above}A" if above else "") + "\x1b[J")
        self.stream.flush()
        self._lines, self._row = [0], 0
