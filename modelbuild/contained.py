"""Programs of others, run in a group of processes of their own: without network where that can be had, with their words in a log.

What the namespaces of Linux do for an ordinary user is done in `_contain`, a small program that starts the other one. Where it ends
them all: when the build stops, or this process is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

from modelbuild.errors import Stopped
from modelbuild.tuples import NamedTuple

LOG_LIMIT = 16 << 20
"""Bytes of a log that are kept from its beginning, and as many again of its end at most."""
_TAIL = 1 << 20
_LOOK = 0.05
_PATIENCE = 5.0
"""Seconds that are waited for the end of what was killed."""


class Given(NamedTuple):
    """What a program was kept from.

    network    any connection
    files      writing outside of its folder
    processes  leaving processes behind
    """

    network: bool
    files: bool
    processes: bool


class Ended(NamedTuple):
    """How a program ended: its exit code, as a shell has it, and what it was kept from."""

    code: int
    given: Given


def run(
    command: Sequence[str],
    *,
    folder: str,
    within: str,
    environment: Mapping[str, str],
    log: str,
    stop: threading.Event,
) -> Ended:
    """Run a program until it ends. Raises Stopped when `stop` is set: then nothing of it is left.

    command      its path, and its arguments
    folder       the folder that it may write in
    within       the folder that it begins in
    environment  all of it
    log          the file that takes what it prints
    """
    ours, theirs = os.pipe()
    script = os.path.join(os.path.dirname(__file__), "_contain.py")
    with contextlib.ExitStack() as held:
        held.callback(os.close, ours)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", script, str(theirs), folder, *command],
                cwd=within,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs],
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        assert process.stdout is not None
        reader = threading.Thread(target=_keep, args=(process.stdout, log), daemon=True)
        held.callback(_end, process, reader)
        reader.start()
        given = _given(ours)
        while not _is_over(process):
            if stop.wait(_LOOK):
                raise Stopped
        # What it has left behind holds its output open.
        _kill(process)
        reader.join(_PATIENCE)
        code = process.wait()
    return Ended(code if code >= 0 else 128 - code, given)


def _given(told: int) -> Given:
    words = b""
    while data := os.read(told, 256):
        words += data
    found = words.decode("ascii", "replace").split()
    return Given(*(name in found for name in Given._fields))


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    """Whether a program has ended. Its number stays its own until it is waited for, if the system can look without that."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], reader: threading.Thread) -> None:
    """Leave nothing of a program."""
    if process.returncode is None:
        _kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        # The end of its output is the end of all that it has started.
        if reader.ident is not None:
            reader.join(_PATIENCE)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _keep(stream: IO[bytes], path: str) -> None:
    """Write what comes to a file: of what is too long its beginning and its end."""
    last: deque[bytes] = deque()
    held = written = 0
    with open(path, "wb") as file, contextlib.suppress(OSError, ValueError):
        while data := os.read(stream.fileno(), 1 << 16):
            if written < LOG_LIMIT:
                file.write(data)
                file.flush()
                written += len(data)
                continue
            last.append(data)
            held += len(data)
            while held - len(last[0]) >= _TAIL:
                held -= len(last.popleft())
        if last:
            file.write(b"\n[...]\n" + b"".join(last))
