"""llama.cpp from a package of Python, xllamacpp: nothing else need be installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from modelbuild.errors import Error
from modelbuild.runners import Model, Piece, Timing, _llama
from modelbuild.runners._folder import Folder

WAY = "install modelbuild with the extra 'run': pip install 'modelbuild[run]'"
LONGEST_LINE = 1 << 20
TAIL = 2000
"""Characters of what the library printed last, if it ends."""


def missing(model: Model) -> str | None:
    return None if find_spec("xllamacpp") else "the Python package xllamacpp is not installed"


def talk(model: Model) -> Talk:
    return Talk(model)


class Talk:
    """A process that has loaded the model (`_child.py`)."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._way = _llama.way(model)
        self.about, self.warnings = _llama.about(model, self._way), self._way.warnings
        self.timing = Timing()
        self._folder = Folder()
        self._log = open(os.path.join(self._folder.name, "log"), "w+b")  # noqa: SIM115 (closed with the process)
        script = os.path.join(os.path.dirname(__file__), "_child.py")
        # -P: the folder of the script has files that are named after what it imports.
        self._process = subprocess.Popen(
            [sys.executable, "-P", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._say(self._loading())
            first = self._hear()
            if "failed" in first:
                raise self._ended(str(first["failed"]))
        except BaseException:
            self.close()
            raise

    def _loading(self) -> dict[str, Any]:
        model, given = self._model, self._model.parameters
        names = {"num_batch": "n_batch", "num_gpu": "n_gpu_layers", "main_gpu": "main_gpu", "num_thread": "n_threads"}
        return {
            "model": model.weights,
            "adapters": list(model.adapters),
            "projector": model.projector,
            "socket": os.path.join(self._folder.name, "s.sock"),
            "n_ctx": _llama.context(model),
            **{names[name]: given[name] for name in names if name in given},
        }

    def answer(self, messages: Sequence[tuple[str, str]]) -> Iterator[Piece]:
        where, body = _llama.request(self._model, self._way, messages)
        self.timing = Timing()
        self._say({"ask": where, "body": body})
        fault = None
        while "end" not in (event := self._hear()):
            try:
                yield from _llama.pieces(event)
            except Error as error:
                fault = error
            self.timing = _llama.timing(event) or self.timing
        if fault is not None:
            raise fault

    def stop(self) -> None:
        with suppress(OSError):
            self._say({"stop": True})

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        self._folder.cleanup()

    def _say(self, value: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline(LONGEST_LINE)
        if not line:
            raise self._ended("the process of llama.cpp ended")
        value = json.loads(line)
        assert isinstance(value, dict)
        return value

    def _ended(self, what: str) -> Error:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace")[-TAIL:].strip().splitlines()
        facts = [("it said", line.strip()) for line in lines[-5:] if line.strip()]
        return Error(f"llama.cpp cannot run '{self._model.name}': {what}", facts=facts)
