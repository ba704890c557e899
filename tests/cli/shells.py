"""An interactive shell on a pseudo-terminal, into which a test types."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

WRAPPER = """#!/bin/sh
if [ -n "$_MODELBUILD_COMPLETE" ]; then exec {python} -m modelbuild "$@"; fi
printf 'RAN'; printf ' <%s>' "$@"; echo ' END'
"""
"""Answers completions as the program does, and otherwise prints its arguments."""

START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SOURCE = {
    "bash": 'eval "$(_MODELBUILD_COMPLETE=bash_source modelbuild)"',
    "zsh": 'autoload -U compinit; compinit -u -D; eval "$(_MODELBUILD_COMPLETE=zsh_source modelbuild)"',
    "fish": "_MODELBUILD_COMPLETE=fish_source modelbuild | source",
}


class Shell:
    """What is typed into it, and what it prints."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._number = 0

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Read until what was printed matches."""
        text, end = "", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.2)[0]:
                chunk = os.read(self._terminal, 65536).decode(errors="replace")
                if "\x1b[c" in chunk or "\x1b[0c" in chunk:  # fish asks what terminal this is
                    self.type("\x1b[?6c")
                text += chunk
                if found := re.search(pattern, text, re.DOTALL):
                    return found
        raise AssertionError(f"{pattern!r} did not come; got {text!r}")

    def run(self, line: str) -> None:
        """Run a line and wait for its end."""
        self._number += 1
        self.type(f"{line}; printf 'done%s\\n' -{self._number}-\n")
        self.until(f"done-{self._number}-")

    def completed(self, line: str) -> list[str]:
        """The arguments of `modelbuild` once TAB has been pressed behind the line."""
        self.type(f"modelbuild {line}\t")
        time.sleep(0.1)
        self.type("\n")
        ran = self.until(r"RAN(.*?) END")[1]
        return re.findall(r"<(.*?)>", ran)

    def offered(self, line: str, wanted: str) -> None:
        """Press TAB until all is offered (the first puts in what all have in common), and wait for a word; then drop the line."""
        self.type(f"modelbuild {line}\t\t\t")
        self.until(re.escape(wanted))
        self.type("\x03\n")


@contextlib.contextmanager
def shell(name: str, folder: Path, tools: Path, env: Mapping[str, str]) -> Iterator[Shell]:
    """A shell in a folder, with completion loaded; `tools` is a folder for the program's name."""
    tools.mkdir(exist_ok=True)
    program = tools / "modelbuild"
    program.write_text(WRAPPER.format(python=sys.executable))
    program.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(START[name][0], START[name], {**os.environ, **env, "PATH": path, "TERM": "xterm", "PS1": "> "})
    try:
        started = Shell(terminal)
        started.run(SOURCE[name])
        yield started
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
