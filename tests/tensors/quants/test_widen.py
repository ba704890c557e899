"""Integers, f64 and floats of eight bits as f32."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from modelbuild.tensors import packing
from tests import recipes


@pytest.mark.parametrize("dtype", ["f8_e4m3", "f8_e5m2", "f8_e8m0"])
def test_every_code_of_eight_bits_has_its_value(dtype: str) -> None:
    out = bytearray(1024)
    packing.widen(dtype, bytes(range(256)), out)
    expected = np.array([recipes.eight_bits(dtype, code) for code in range(256)], "<f4")
    found = np.frombuffer(out, "<f4")
    assert np.array_equal(found, expected, equal_nan=True)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


@pytest.mark.peer
def test_the_values_of_eight_bits_are_torchs() -> None:
    script = (
        "import torch, json, sys\n"
        "codes = torch.arange(256, dtype=torch.uint8)\n"
        "kinds = ('float8_e4m3fn', 'float8_e5m2', 'float8_e8m0fnu')\n"
        "print(json.dumps([codes.view(getattr(torch, k)).float().view(torch.int32).tolist() for k in kinds]))\n"
    )
    python = os.environ.get("MODELBUILD_PEERS_PYTHON")
    if not python:
        pytest.skip("MODELBUILD_PEERS_PYTHON names no Python with torch")
    answer = json.loads(subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout)
    for dtype, patterns in zip(("f8_e4m3", "f8_e5m2", "f8_e8m0"), answer, strict=True):
        out = bytearray(1024)
        packing.widen(dtype, bytes(range(256)), out)
        theirs = np.array(patterns, np.int32).view(np.float32)
        assert np.array_equal(np.frombuffer(out, "<f4"), theirs, equal_nan=True)
