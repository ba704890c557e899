"""ggml's own quantizers, by ctypes, from the llama.cpp build that MODELBUILD_LLAMA_CPP names."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from modelbuild.tensors.quants import Quant


def build() -> Path:
    """The folder of the build; skips the test where there is none."""
    folder = os.environ.get("MODELBUILD_LLAMA_CPP")
    if not folder:
        pytest.skip("MODELBUILD_LLAMA_CPP does not name a llama.cpp build")
    return Path(folder)


@cache
def library() -> ctypes.CDLL:
    """libggml-base; skips the test where there is none."""
    found = sorted(build().rglob("libggml-base.so"))
    if not found:
        pytest.skip(f"no libggml-base.so below {build()}")
    lib = ctypes.CDLL(str(found[0]))
    lib.ggml_quantize_init.argtypes = [ctypes.c_int]
    lib.ggml_quantize_init.restype = None
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    return lib


def quantize(
    quant: Quant, values: npt.NDArray[np.float32], weights: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.uint8]:
    """What ggml makes of the values, with weights as rows of so many."""
    lib = library()
    out = np.zeros(values.size // quant.block * quant.bytes, np.uint8)
    lib.ggml_quantize_init(quant.ggml_type)
    columns = quant.block if weights is None else weights.size
    arguments = quant.ggml_type, values.ctypes.data, out.ctypes.data, 0, values.size // columns, columns
    size = lib.ggml_quantize_chunk(*arguments, None if weights is None else weights.ctypes.data)
    assert size == out.size
    return out
