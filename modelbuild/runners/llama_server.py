"""llama.cpp's own server, `llama-server` or `llama serve`, started for one conversation on a socket in a folder of the user's."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from modelbuild.errors import Error
from modelbuild.runners import Model, Piece, Timing, _llama
from modelbuild.runners._folder import Folder

WAY = "install llama.cpp (https://llama.app, or brew install llama.cpp), which brings `llama-server`"
LONGEST_LINE = 1 << 20
LONGEST_SILENCE = 3600.0
"""Seconds: a long prompt on a slow machine is read without a word."""
OFTEN = 0.05
"""Seconds between two looks at whether the model is loaded."""


def missing(model: Model) -> str | None:
    return None if _program() else "neither `llama-server` nor `llama` is on PATH"


def _program() -> list[str] | None:
    """The program, and the command of the one program that newer releases have for everything."""
    if path := shutil.which("llama-server"):
        return [path]
    path = shutil.which("llama")
    return [path, "serve"] if path else None


def talk(model: Model) -> Talk:
    return Talk(model)


class _Connection(http.client.HTTPConnection):
    """HTTP over the socket of a path."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Talk:
    """A server that has loaded the model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._way = _llama.way(model)
        self.about, self.warnings = _llama.about(model, self._way), self._way.warnings
        self.timing = Timing()
        self._folder = Folder()
        self._socket = os.path.join(self._folder.name, "s.sock")
        self._log = open(os.path.join(self._folder.name, "log"), "w+b")  # noqa: SIM115 (closed with the process)
        # Of the answer under way: HTTP forgets a connection that the server is going to close.
        self._answering: socket.socket | None = None
        self._stopped = False
        guard = os.path.join(os.path.dirname(__file__), "_guard.py")
        # -P: the folder of the script has files that are named after what it imports.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-S", guard, *self._command()],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            while not self._is_ready():
                time.sleep(OFTEN)
        except BaseException:
            self.close()
            raise

    def _command(self) -> list[str]:
        model, given = self._model, self._model.parameters
        command = [*(_program() or ["llama-server"]), "-m", model.weights, "--host", self._socket]
        command += ["-c", str(_llama.context(model)), "-np", "1", "--jinja", "--no-warmup", "--no-webui"]
        for number, adapter in enumerate(model.adapters):
            # A comma in a path would begin another adapter.
            link = os.path.join(self._folder.name, f"adapter-{number}.gguf")
            os.symlink(os.path.abspath(adapter), link)
            command += ["--lora", link]
        if model.projector:
            command += ["--mmproj", model.projector]
        for name, option in (("num_batch", "-b"), ("num_gpu", "-ngl"), ("main_gpu", "-mg"), ("num_thread", "-t")):
            if name in given:
                command += [option, str(given[name])]
        return command

    def _is_ready(self) -> bool:
        """Whether the model is loaded. Raises Error if the server has ended."""
        if self._process.poll() is not None:
            raise self._ended()
        connection = _Connection(self._socket, 5.0)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def answer(self, messages: Sequence[tuple[str, str]]) -> Iterator[Piece]:
        where, body = _llama.request(self._model, self._way, messages)
        self.timing, self._stopped = Timing(), False
        connection = _Connection(self._socket, LONGEST_SILENCE)
        try:
            connection.connect()
            self._answering = connection.sock
            connection.request("POST", where, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise _llama.failed(_error(answer.read(LONGEST_LINE)))
            while line := answer.readline(LONGEST_LINE):
                if self._stopped and not line.endswith(b"\n"):
                    # It was stopped within this line.
                    return
                event = _event(line)
                if event is not None:
                    yield from _llama.pieces(event)
                    self.timing = _llama.timing(event) or self.timing
        except (OSError, http.client.HTTPException):
            if not self._stopped:
                raise self._ended() from None
        finally:
            self._answering = None
            connection.close()

    def stop(self) -> None:
        self._stopped = True
        if self._answering is not None:
            with suppress(OSError):
                self._answering.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # The guard and the server, which outlives it if that is all that ends.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._log):
            if stream is not None:
                stream.close()
        self._folder.cleanup()

    def _ended(self) -> Error:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        facts = [("it said", line.strip()) for line in lines[-5:] if line.strip()]
        return Error(f"llama.cpp cannot run '{self._model.name}': its server ended", facts=facts)


def _event(line: bytes) -> dict[str, Any] | None:
    """An event of the stream; None for the lines between them and for its end."""
    kind, _, data = line.partition(b":")
    if kind not in (b"data", b"error") or data.strip() == b"[DONE]":
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Error("llama.cpp's server does not answer as expected")
    return {"error": value} if kind == b"error" else value


def _error(data: bytes) -> Any:
    try:
        value = json.loads(data)
        return value["error"] if isinstance(value, dict) and "error" in value else value
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")[:200]
