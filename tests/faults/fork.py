"""Run modelbuild in forked children: a case costs what the command does, and not the start of a Python.

The process that forks has imported all that a build imports, and has one thread.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

LIMIT = 40.0
"""Seconds after which a command counts as one that hangs."""


class Child:
    """A command under way."""

    def __init__(self, words: Sequence[str], output: Path, prepare: Callable[[], None] = lambda: None) -> None:
        self.output = output
        self.begun = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(words, output, prepare)
        self._handle = os.pidfd_open(self.pid)
        self.code: int | None = None

    def wait(self, seconds: float, *others: int) -> list[int]:
        """Wait for the end, or for one of other descriptors to be readable; returns those that are."""
        ready, _, _ = select.select([self._handle, *others], [], [], max(0.0, seconds))
        if self._handle in ready:
            _, status = os.waitpid(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)
            os.close(self._handle)
            ready.remove(self._handle)
        return ready

    def end(self) -> Done:
        """Wait for the end; whatever hangs is killed, and its code is None."""
        if self.code is None:
            self.wait(self.begun + LIMIT - time.monotonic())
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(60)
            return Done(None, self.text() + "\nthe command did not end")
        return Done(self.code, self.text())

    def text(self) -> str:
        try:
            return self.output.read_text(errors="replace")
        except FileNotFoundError:  # killed before it began
            return ""

    def blocked(self) -> bool:
        """Whether it waits for a lock that somebody holds."""
        with open("/proc/locks") as file:
            return any(f" {self.pid} " in line and "->" in line for line in file)


class Done(NamedTuple):
    """How a command ended: its exit code (None: it hung), and what it printed."""

    code: int | None
    text: str


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def run(words: Sequence[str], output: Path) -> Done:
    return Child(words, output).end()


def _run(words: Sequence[str], output: Path, prepare: Callable[[], None]) -> None:
    """Be the command; never returns."""
    code = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        from modelbuild.cli.main import main

        prepare()
        code = main(list(words))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def import_what_it_imports(words: Sequence[str], output: Path) -> None:
    """Run a command in a child, and import here every module that it did."""
    reader, writer = os.pipe()

    def at_end() -> None:
        from modelbuild.cli import main as cli

        real = cli.main

        def main(args: Sequence[str] | None = None) -> int:
            code = real(args)
            os.write(writer, "\n".join(sys.modules).encode())
            return code

        cli.main = main

    pid = os.fork()
    if pid == 0:
        os.close(reader)
        at_end()
        _run(words, output, lambda: None)
    os.close(writer)
    with open(reader, "rb") as file:
        names = file.read().decode().split()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"modelbuild {' '.join(words)} failed: {output.read_text()}")
    for name in names:
        if name not in sys.modules and name != "__main__":
            with suppress(ImportError):
                importlib.import_module(name)
    # Children then share what is imported, and copy none of it to count references.
    gc.collect()
    gc.freeze()
