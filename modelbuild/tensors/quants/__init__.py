"""Block formats: what a quant is called, how its blocks are sized, and packing floats into them and back.

A format is the file named after it: GGML_TYPE (ggml's id), BLOCK (elements), BYTES (of a block), HALVES (where in a
block its f16 scales stand), `quantize` and `dequantize` in numpy, which are the specification; a format that an
importance matrix changes has `quantize_weighted`, too. The native kernels give the same bytes, many times as fast.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from modelbuild.errors import Error
from modelbuild.tensors.quants import _carried

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

SOURCES = ("f32", "f16", "bf16")
"""The dtypes that can be quantized."""

_STRETCH = 1 << 16
"""Elements that the numpy path takes at a time: a multiple of every block, and its temporaries stay in the caches."""


@dataclass(frozen=True)
class Quant:
    """A block format: `block` elements in `bytes` bytes."""

    name: str
    ggml_type: int
    block: int
    bytes: int


class NotFinite(ValueError):
    """The source holds a NaN or an infinity, first at element `index` of the buffer."""

    def __init__(self, index: int) -> None:
        super().__init__(f"element {index} is not a finite number")
        self.index = index


class Overflow(ValueError):
    """A finite source is too large: element `index`, or a scale of the block that starts there, would become infinite."""

    def __init__(self, index: int) -> None:
        super().__init__(f"the values from element {index} on are too large for this format")
        self.index = index


@cache
def names() -> tuple[str, ...]:
    """The quants that can be made."""
    files = os.listdir(os.path.dirname(__file__))
    return tuple(sorted(file[:-3] for file in files if file.endswith(".py") and not file.startswith("_")))


@cache
def get(name: str) -> Quant:
    """The quant of that name (lower case): one that can be made, one that can only be carried, or what only checkpoints hold.

    The last have no id in ggml: -1. Raises KeyError.
    """
    if name in _carried.SIZES:
        return Quant(name, *_carried.SIZES[name])
    if name in _carried.SOURCES:
        return Quant(name, -1, 1, _carried.SOURCES[name])
    if name not in names():
        raise KeyError(name)
    module = _module(name)
    return Quant(name, module.GGML_TYPE, module.BLOCK, module.BYTES)


def by_ggml_type(ggml_type: int) -> Quant | None:
    """The quant with that id in ggml's `enum ggml_type`, as GGUF files hold it; None for an unknown or retired id."""
    return _by_ggml_type().get(ggml_type)


@cache
def takes_weights(quant: str) -> bool:
    """Whether the weights of `quantize` change what is made; other formats ignore them. Raises KeyError."""
    return quant not in _carried.SIZES and hasattr(_module(get(quant).name), "quantize_weighted")


def quantize(
    quant: str,
    dtype: str,
    source: ReadableBuffer,
    out: WriteableBuffer,
    weights: ReadableBuffer | None = None,
    columns: int = 0,
) -> None:
    """Pack floats into blocks of `quant` (or cast them, where that is f32, f16 or bf16), byte for byte as ggml does.

    source is little-endian f32, f16 or bf16, a whole number of blocks, at any alignment; out takes exactly the blocks
    and must not overlap it. Raises NotFinite and Overflow; a cast to f32, f16 or bf16 has then written all of `out`,
    a block format need not have.
    With weights, little-endian f32 that say how much each of `columns` matters (an importance matrix), source is a whole
    number of rows of so many values, and a row a whole number of blocks.
    Raises ValueError for a wrong size, an unknown dtype or a weight that is not finite, KeyError for an unknown quant.
    """
    form = get(quant)
    if dtype not in SOURCES:
        raise ValueError(f"expected f32, f16 or bf16 values, got {dtype}")
    if quant in _carried.SIZES:
        raise ValueError(f"{quant} can be copied, not made")
    count = _count(get(dtype), source, dtype)
    _check_size(form, count, memoryview(out).nbytes, "out")
    if weights is not None:
        _check_weights(form, count, weights, columns)
        weights = weights if takes_weights(quant) else None
    native, instructions = _kernels()
    if native is not None and form.ggml_type in _native_types(native):
        kinds = form.ggml_type, get(dtype).ggml_type
        nonfinite, overflow = native.quantize(instructions, *kinds, source, out, weights, columns)
    else:
        nonfinite, overflow = _numpy_quantize(quant, dtype, source, out, weights, columns)
    if nonfinite >= 0:
        raise NotFinite(nonfinite)
    if overflow >= 0:
        raise Overflow(overflow)


def dequantize(quant: str, source: ReadableBuffer, out: WriteableBuffer) -> None:
    """Unpack blocks of `quant` into little-endian f32, in ggml's order of operations.

    Buffers have any alignment. Raises ValueError for a wrong size and for a quant that can only be carried.
    """
    form = get(quant)
    if quant in _carried.SIZES:
        raise ValueError(f"{quant} can be copied, not read")
    count = _count(form, source, quant)
    _check_size(get("f32"), count, memoryview(out).nbytes, "out")
    native, instructions = _kernels()
    if native is not None and form.ggml_type in _native_types(native):
        native.dequantize(instructions, form.ggml_type, source, out)
    else:
        _numpy_dequantize(quant, source, out)


def widen(dtype: str, source: ReadableBuffer, out: WriteableBuffer) -> None:
    """Write integers, f64 or fp8 values as little-endian f32, rounded to nearest even. Raises ValueError for other dtypes."""
    from modelbuild.tensors.quants import _widen

    _check_size(get("f32"), _count(get(dtype), source, dtype), memoryview(out).nbytes, "out")
    _widen.widen(dtype, source, out)


def first_nonfinite(dtype: str, source: ReadableBuffer) -> int:
    """The position of the first NaN or infinity among f32, f16, bf16 or f64 values; -1 where there is none."""
    if dtype not in (*SOURCES, "f64"):
        raise ValueError(f"expected f32, f16, bf16 or f64 values, got {dtype}")
    form = get(dtype)
    _count(form, source, dtype)
    native, instructions = _kernels()
    if native is not None:
        return int(native.first_nonfinite(instructions, form.ggml_type, source))
    from modelbuild.tensors.quants import _numpy

    return _numpy.first_nonfinite(dtype, source)


def is_native() -> bool:
    return _kernels()[0] is not None


def instruction_set() -> str:
    """What quantizes here: avx512, avx2, portable, or numpy. MODELBUILD_KERNELS forces one."""
    return _kernels()[1]


@cache
def _kernels() -> tuple[Any, str]:
    """The native module and the instruction set to use, or None and 'numpy'."""
    wanted = os.environ.get("MODELBUILD_KERNELS", "")
    known = ("avx512", "avx2", "portable", "numpy")
    if wanted and wanted not in known:
        raise Error(f"MODELBUILD_KERNELS: expected one of {', '.join(known)}, got '{wanted}'")
    if wanted == "numpy":
        return None, "numpy"
    try:
        native: Any = importlib.import_module("modelbuild.tensors.quants._native")
    except ImportError as error:
        if wanted:
            raise Error(
                f"MODELBUILD_KERNELS: '{wanted}' needs the native kernels, which are not built here",
                facts=[("import", str(error))],
                hint="install gcc or clang, then install modelbuild again",
            ) from None
        import warnings

        warnings.warn(
            "the native kernels of modelbuild are not built here: numpy quantizes in their place, to the same bytes, "
            "10 to 200 times slower; to get them, install gcc or clang, then install modelbuild again "
            "(MODELBUILD_KERNELS=numpy silences this)",
            RuntimeWarning,
            stacklevel=3,
        )
        return None, "numpy"
    usable = native.instruction_sets()
    if wanted and wanted not in usable:
        facts = [("usable", ", ".join((*usable, "numpy")))]
        raise Error(f"MODELBUILD_KERNELS: this processor does not have '{wanted}'", facts=facts)
    return native, wanted or usable[0]


@cache
def _native_types(native: Any) -> frozenset[int]:
    return frozenset(row[0] for row in native.formats())


@cache
def _by_ggml_type() -> dict[int, Quant]:
    return {quant.ggml_type: quant for quant in map(get, (*names(), *_carried.SIZES))}


def _module(name: str) -> Any:
    return importlib.import_module(f"modelbuild.tensors.quants.{name}")


def _count(form: Quant, source: ReadableBuffer, dtype: str) -> int:
    """Elements in `source`."""
    size = memoryview(source).nbytes
    if size % form.bytes:
        unit = "values" if form.block == 1 else "blocks"
        raise ValueError(f"{size} bytes are not a whole number of {dtype} {unit} of {form.bytes} bytes")
    return size // form.bytes * form.block


def _check_size(form: Quant, count: int, size: int, what: str) -> None:
    if count % form.block:
        raise ValueError(f"{count} values are not a multiple of the {form.block} of a {form.name} block")
    expected = count // form.block * form.bytes
    if size != expected:
        raise ValueError(f"{what}: {count} values take {expected} bytes as {form.name}, got {size}")


def _check_weights(form: Quant, count: int, weights: ReadableBuffer, columns: int) -> None:
    if columns <= 0 or columns % form.block:
        raise ValueError(f"rows of {columns} values are not a multiple of the {form.block} of a {form.name} block")
    if count % columns:
        raise ValueError(f"{count} values are not a whole number of rows of {columns}")
    if (size := memoryview(weights).nbytes) != 4 * columns:
        raise ValueError(f"weights: {columns} columns take {4 * columns} bytes, got {size}")
    if (bad := first_nonfinite("f32", weights)) >= 0:
        raise ValueError(f"weights: that of column {bad} is not a finite number")


def _numpy_quantize(
    quant: str,
    dtype: str,
    source: ReadableBuffer,
    out: WriteableBuffer,
    weights: ReadableBuffer | None = None,
    columns: int = 0,
) -> tuple[int, int]:
    """As the native `quantize`: the first positions that are not finite, that overflow; -1 for none."""
    import numpy as np

    from modelbuild.tensors.quants import _numpy

    form, reader, writer = get(quant), _module(dtype), _module(quant)
    nonfinite = _numpy.first_nonfinite(dtype, source)
    if nonfinite >= 0 and form.block > 1:
        return nonfinite, -1
    data, packed = _numpy.as_bytes(source), _numpy.as_bytes(out)
    if quant == dtype:
        packed[:] = data
        return nonfinite, -1
    overflow = -1
    importance = None if weights is None else _numpy.as_bytes(weights).view("<f4")
    step = _STRETCH if weights is None else max(_STRETCH // columns, 1) * columns
    for start in range(0, data.size // reader.BYTES, step):
        values = reader.dequantize(data[start * reader.BYTES : (start + step) * reader.BYTES])
        with np.errstate(all="ignore"):
            rows = values.reshape(-1, columns or values.size)
            piece = writer.quantize(values) if importance is None else writer.quantize_weighted(rows, importance)
        at = start // form.block * form.bytes
        packed[at : at + piece.size] = piece
        if nonfinite < 0 and overflow < 0:
            halves = form.bytes, writer.HALVES
            found = _numpy.first_nonfinite(quant, piece) if form.block == 1 else _numpy.first_overflow(piece, *halves)
            overflow = start + found * form.block if found >= 0 else -1
    return nonfinite, overflow


def _numpy_dequantize(quant: str, source: ReadableBuffer, out: WriteableBuffer) -> None:
    import numpy as np

    from modelbuild.tensors.quants import _numpy

    module = _module(quant)
    blocks = _numpy.as_bytes(source).reshape(-1, module.BYTES)
    values = _numpy.as_bytes(out)
    step = _STRETCH // module.BLOCK
    for start in range(0, len(blocks), step):
        with np.errstate(all="ignore"):
            piece = module.dequantize(blocks[start : start + step].reshape(-1)).view(np.uint8)
        at = start * module.BLOCK * 4
        values[at : at + piece.size] = piece
