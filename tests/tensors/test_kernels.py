"""What packs here: an instruction set that the machine has and the environment may choose, or numpy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tensors.quants.ways import WAYS

ROOT = Path(__file__).parents[2]


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MODELBUILD_KERNELS"} | env
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("way", WAYS)
def test_the_environment_forces_an_instruction_set(way):
    code = (
        "import hashlib; from modelbuild.tensors import packing; out = bytearray(144);"
        "packing.quantize('q4_k', 'f32', bytes(range(60)) * 17 + bytes(4), out);"
        "print(packing.instruction_set(), hashlib.sha256(out).hexdigest()[:8])"
    )
    done = run(code, MODELBUILD_KERNELS=way)
    digest = run(code, MODELBUILD_KERNELS="numpy").stdout.split()[1]
    assert done.stdout.split() == [way, digest], done.stderr
    assert done.stderr == ""


def test_an_unknown_instruction_set_is_an_error_that_lists_them():
    done = run("from modelbuild.tensors import packing; packing.instruction_set()", MODELBUILD_KERNELS="sse9")
    assert "expected one of avx512, avx2, portable, numpy, got 'sse9'" in done.stderr


def test_without_the_kernels_numpy_steps_in_and_says_so_once():
    code = (
        "import sys; sys.modules['modelbuild.tensors.quants._native'] = None\n"
        "from modelbuild.tensors import packing; out = bytearray(288)\n"
        "for _ in range(3): packing.quantize('q4_k', 'f32', bytes(2048), out)\n"
        "print(packing.instruction_set())"
    )
    done = run(code)
    assert done.stdout.split() == ["numpy"], done.stderr
    assert done.stderr.count("the native kernels of modelbuild are not built here") == 1
    done = run(code, MODELBUILD_KERNELS="avx2")
    assert "'avx2' needs the native kernels, which are not built here" in done.stderr
