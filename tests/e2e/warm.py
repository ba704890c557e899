"""The command in a process of its own, without the start of a Python: a process that has imported everything forks into it.

Each fork has its words, folder, environment and pipes, as a program that is started. Tests of what a start imports, of signals and of
terminals start the real program.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tests import conftest  # noqa: F401 (what holds for every test holds here)

LIMIT = 120
"""Seconds after which a command is killed."""
ROOT = Path(__file__).parents[2]
BESIDES = ("click", "numpy", "pydantic", "rich.live", "tokenizers", "tomli_w", "urllib3", "yaml")
"""What modelbuild imports inside of functions, where it takes long."""


class Done(NamedTuple):
    """How a command ended: its exit code, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str


def run(words: Sequence[str], folder: Path = ROOT, together: bool = False, **environment: str) -> Done:
    """Run `modelbuild` in a folder, in the environment of this process and more; `together`: with its errors in its output."""
    server, _ = _server()
    mask = os.umask(0)
    os.umask(mask)
    asked = json.dumps([list(words), str(folder), {**os.environ, **environment}, mask]).encode()
    out, err = (os.pipe(), os.pipe())
    ends = [out[1], out[1] if together else err[1]]
    socket.send_fds(server, [len(asked).to_bytes(8)], ends)
    server.sendall(asked)
    for _, end in (out, err):
        os.close(end)
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(_all, (out[0], err[0])))
    code = server.recv(2)
    assert code, "the forking process has ended"
    return Done(int.from_bytes(code, signed=True), *said)


def _all(pipe: int) -> str:
    with open(pipe, encoding="utf-8") as file:
        return file.read()


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that forks; it ends when this one does, and the connection with it."""
    ours, theirs = socket.socketpair()
    with theirs:
        return ours, subprocess.Popen([sys.executable, "-m", "tests.e2e.warm"], cwd=ROOT, stdin=theirs)


def _be(words: list[str], folder: str, environment: dict[str, str], mask: int) -> int:
    """Be the program."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (as long as the process)
    os.chdir(folder)
    os.umask(mask)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [os.getcwd(), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["modelbuild", *words]
    signal.alarm(LIMIT)
    from modelbuild.cli.main import program

    return program()


def _fork(asked: list[Any], streams: Sequence[int]) -> int:
    """Fork into the program, and wait for its end; returns its exit code."""
    child = os.fork()
    if child:
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    for target, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, target)
        os.close(stream)
    code = _be(*asked)
    for each in (sys.stdout, sys.stderr):
        each.flush()
    # To tear down what is imported would copy all of it.
    os._exit(code)


def import_everything() -> None:
    """Forks then share it, and copy none of it to count references."""
    import modelbuild

    for name in (*BESIDES, *(name for _, name, _ in pkgutil.walk_packages(modelbuild.__path__, "modelbuild."))):
        if not name.endswith("__main__"):
            import_module(name)
    gc.collect()
    gc.freeze()


def _serve() -> None:
    import_everything()
    with socket.socket(fileno=os.dup(0)) as client:
        while True:
            size, streams, _, _ = socket.recv_fds(client, 8, 2)
            if not size:
                return
            asked = bytearray()
            while len(asked) < int.from_bytes(size):
                asked += client.recv(1 << 20)
            client.sendall(_fork(json.loads(asked), streams).to_bytes(2, signed=True))


if __name__ == "__main__":
    _serve()
