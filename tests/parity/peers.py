"""llama.cpp's own tools, its runtime and transformers, and where two files differ."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelbuild.tensors.formats import gguf


class Process:
    """A script of this folder, running in the peers' Python: one JSON object in, one out."""

    def __init__(self, folder: Path, script: str, variable: str = "PEERS_PYTHON") -> None:
        """`variable` names the Python: that of the peers, or another of theirs."""
        python, source = (os.environ.get(f"MODELBUILD_{name}") for name in (variable, "LLAMA_SRC"))
        if not python or not source:
            pytest.skip(f"MODELBUILD_{variable} and MODELBUILD_LLAMA_SRC name no peers")
        self.log = (folder / f"{script}.log").open("w+")
        self.process = subprocess.Popen(
            [python, str(Path(__file__).parent / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "MODELBUILD_LLAMA_SRC": source},
        )

    def ask(self, **job: Any) -> dict[str, Any]:
        """The answer to a job. Where the script dies of it, that is the answer's error."""
        assert self.process.stdin and self.process.stdout
        try:
            print(json.dumps(job), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line or '{"error": "the process has died"}')
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


class Peers:
    """llama.cpp's tools: the converters in one long-lived process, the quantizer as a command."""

    def __init__(self, folder: Path) -> None:
        build = os.environ.get("MODELBUILD_LLAMA_CPP")
        if not build:
            pytest.skip("MODELBUILD_LLAMA_CPP names no build of llama.cpp")
        self.out = folder / "peer.gguf"
        self.quantizer = next(Path(build).rglob("llama-quantize"))
        self.process = Process(folder, "peer.py")

    def ask(self, **job: Any) -> str | None:
        error = self.process.ask(**job)["error"]
        assert error is None or isinstance(error, str)
        return error

    def make(self, folder: Path, **job: Any) -> Path:
        assert self.ask(do="make", folder=str(folder), **job) is None
        return folder

    def convert(self, folder: Path, outtype: str, pre: str | None = None, options: Sequence[str] = ()) -> bytes:
        """What the converter makes of a folder; `pre` is what it is told of the pre-tokenizer, `options` are its command's."""
        error = self.ask(
            do="convert", folder=str(folder), outtype=outtype, out=str(self.out), pre=pre, options=list(options)
        )
        assert error is None, error
        return self.out.read_bytes()

    def convert_adapter(self, folder: Path, base: Path, outtype: str, pre: str | None = None) -> bytes:
        """What the converter of adapters makes of a PEFT folder; `pre` is what it is told of the base's pre-tokenizer."""
        job = {"folder": str(folder), "base": str(base), "outtype": outtype, "out": str(self.out), "pre": pre}
        error = self.ask(do="adapter", **job)
        assert error is None, error
        return self.out.read_bytes()

    def quantize(self, ftype: str) -> bytes:
        """Quantize what was converted last."""
        out = self.out.with_suffix(".quantized")
        subprocess.run([self.quantizer, self.out, out, ftype, "2"], check=True, capture_output=True)
        return out.read_bytes()

    def close(self) -> None:
        self.process.close()


def same(ours: bytes, theirs: bytes, folder: Path) -> None:
    """Assert that two files are equal, and say where they are not."""
    if ours == theirs:
        return
    tables = []
    for name, data in (("ours", ours), ("theirs", theirs)):
        (folder / f"{name}.gguf").write_bytes(data)
        tables.append(gguf.read_header(str(folder / f"{name}.gguf")).table)
    assert list(tables[0].metadata) == list(tables[1].metadata)
    for key in tables[0].metadata:
        assert tables[0].metadata[key] == tables[1].metadata[key], key
    assert tables[0].tensors == tables[1].tensors
    for tensor in tables[0].tensors.values():
        at = slice(tensor.offset, tensor.offset + tensor.length)
        assert ours[at] == theirs[at], tensor.name
    raise AssertionError("padding differs")
