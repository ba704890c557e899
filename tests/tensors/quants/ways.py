"""The ways to the same bytes: each instruction set that this machine has, and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from modelbuild.tensors import quants
from modelbuild.tensors.quants import _reference

try:
    from modelbuild.tensors.quants import _native as native  # type: ignore[attr-defined]
except ImportError:  # an install without a compiler
    native = None

NATIVE: tuple[str, ...] = native.instruction_sets() if native else ()
WAYS = (*NATIVE, "numpy")
BLOCKS = tuple(name for name in quants.names() if quants.get(name).block > 1)
WEIGHTED = tuple(filter(quants.takes_weights, BLOCKS))


def pack(
    way: str, quant: str, dtype: str, source: Any, weights: Any = None, columns: int = 0
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """The packed bytes, and the first positions that are not finite and that overflow."""
    form = quants.get(quant)
    count = memoryview(source).nbytes // quants.get(dtype).bytes
    out = np.full(count // form.block * form.bytes, 0xAA, np.uint8)
    if way == "numpy":
        found = _reference.quantize(quant, dtype, source, out, weights, columns)
    else:
        found = native.quantize(way, form.ggml_type, quants.get(dtype).ggml_type, source, out, weights, columns)
    return out, found


def unpack(way: str, quant: str, source: Any) -> npt.NDArray[np.float32]:
    form = quants.get(quant)
    out = np.full(memoryview(source).nbytes // form.bytes * form.block, 7, np.float32)
    if way == "numpy":
        _reference.dequantize(quant, source, out)
    else:
        native.dequantize(way, form.ggml_type, source, out)
    return out
