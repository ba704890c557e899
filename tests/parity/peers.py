"""llama.cpp's own tools, and where two files differ."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelbuild.formats import gguf


class Peers:
    """llama.cpp's tools: the converter in one long-lived process, the quantizer as a command."""

    def __init__(self, folder: Path) -> None:
        python, source, build = (
            os.environ.get(f"MODELBUILD_{name}") for name in ("PEERS_PYTHON", "LLAMA_SRC", "LLAMA_CPP")
        )
        if not python or not source or not build:
            pytest.skip("MODELBUILD_PEERS_PYTHON, MODELBUILD_LLAMA_SRC and MODELBUILD_LLAMA_CPP name no peers")
        self.out = folder / "peer.gguf"
        self.quantizer = next(Path(build).rglob("llama-quantize"))
        self.log = (folder / "peer.log").open("w+")
        self.process = subprocess.Popen(
            [python, str(Path(__file__).parent / "peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "MODELBUILD_LLAMA_SRC": source},
        )

    def ask(self, **job: Any) -> str | None:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(job), file=self.process.stdin, flush=True)
        error = json.loads(self.process.stdout.readline())["error"]
        assert error is None or isinstance(error, str)
        return error

    def make(self, folder: Path, **job: Any) -> Path:
        assert self.ask(do="make", folder=str(folder), **job) is None
        return folder

    def convert(self, folder: Path, outtype: str, pre: str | None = None) -> bytes:
        """What the converter makes of a folder; `pre` is what it is told of the pre-tokenizer."""
        error = self.ask(do="convert", folder=str(folder), outtype=outtype, out=str(self.out), pre=pre)
        assert error is None, error
        return self.out.read_bytes()

    def quantize(self, ftype: str) -> bytes:
        """Quantize what was converted last."""
        out = self.out.with_suffix(".quantized")
        subprocess.run([self.quantizer, self.out, out, ftype, "2"], check=True, capture_output=True)
        return out.read_bytes()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


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
