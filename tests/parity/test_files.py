"""The file that `-o` leaves is llama-quantize's of llama.cpp's conversion, in an empty folder with an empty cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import synthetic

from .peers import Peers, same

TYPES = ("q4_K_M", "q8_0", "q6_K", "f16")


@pytest.mark.peer
@pytest.mark.parametrize("ftype", TYPES)
@pytest.mark.parametrize("outtype", ["bf16", "f16"])
def test_file_of_a_checkpoint_is_llama_quantizes(ftype: str, outtype: str, peers: Peers, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    synthetic.checkpoint(folder, layers=2, hidden=256, intermediate=256, vocabulary=300)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    work = tmp_path / "empty"
    work.mkdir()
    options = ["--set", f"checkpoint.outtype={outtype}"] if outtype == "f16" else []
    subprocess.run(
        [sys.executable, "-m", "modelbuild", "../checkpoint", "-q", ftype, "-o", "out.gguf", *options],
        cwd=work,
        env={**os.environ, "HOME": str(work / "nowhere"), "MODELBUILD_CACHE": str(tmp_path / "cache")},
        check=True,
    )
    assert [path.name for path in work.iterdir()] == ["out.gguf"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    peers.convert(folder, outtype)
    same((work / "out.gguf").read_bytes(), peers.quantize(ftype), tmp_path)
