"""Somebody who types: a command on a pseudo-terminal that is its own, answered as it prints."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

PATIENCE = 120.0
"""Seconds until a text that does not come is a failure."""
CTRL_C, CTRL_D = "\x03", "\x04"


class Typist:
    """A command whose three streams are a terminal. `seen` is all that it has printed."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.seen = ""
        self._at = 0
        pid, self._terminal = pty.fork()
        if pid == 0:
            os.execvpe(command[0], list(command), {**env, "TERM": "dumb"})
        self._pid = pid

    def until(self, text: str) -> str:
        """Wait until it prints a text; returns what came since the last one, with that."""
        end = time.monotonic() + PATIENCE
        while (found := self.seen.find(text, self._at)) < 0:
            assert self._read(end - time.monotonic()), f"no {text!r} in {self.seen[self._at :]!r}"
        start, self._at = self._at, found + len(text)
        return self.seen[start : self._at]

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def ended(self, again: str = "") -> int:
        """Wait until it ends; returns its exit code.

        again  what is typed each second meanwhile: a Ctrl-C between a prompt and the wait for input is only heard with the next key
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if not self._read(min(end - time.monotonic(), 1) if again else end - time.monotonic()):
                    break
            except subprocess.TimeoutExpired:
                if not again or time.monotonic() > end:
                    raise
                self.type(again)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self, patience: float) -> bool:
        if not select.select([self._terminal], [], [], max(patience, 0))[0]:
            raise subprocess.TimeoutExpired("the terminal", PATIENCE)
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # Linux's way to say that nobody writes any more
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def __enter__(self) -> Typist:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._terminal)
