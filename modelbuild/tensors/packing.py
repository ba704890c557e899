"""Pack floats into blocks and unpack them, in native kernels or in numpy: the same bytes either way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors import kernels
from modelbuild.tensors.quants import FLOATS, Quant, get, is_carried, takes_weights

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


CHECKED = (*FLOATS, "f64")
"""The dtypes that `first_nonfinite` reads."""


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
    packed = get(quant)
    if dtype not in FLOATS:
        raise ValueError(f"expected f32, f16 or bf16 values, got {dtype}")
    if is_carried(quant):
        raise ValueError(f"{quant} can be copied, but not made")
    count = _count(get(dtype), source)
    _check_size(packed, count, out)
    if weights is not None:
        _check_weights(packed, count, weights, columns)
        weights = weights if takes_weights(quant) else None
    native, instructions = kernels.choose()
    if native is not None and packed.ggml_type in kernels.types(native):
        kinds = packed.ggml_type, get(dtype).ggml_type
        nonfinite, overflow = native.quantize(instructions, *kinds, source, out, weights, columns)
    else:
        from modelbuild.tensors.quants import _reference

        nonfinite, overflow = _reference.quantize(quant, dtype, source, out, weights, columns)
    if nonfinite >= 0:
        raise NotFinite(nonfinite)
    if overflow >= 0:
        raise Overflow(overflow)


def dequantize(quant: str, source: ReadableBuffer, out: WriteableBuffer) -> None:
    """Unpack blocks of `quant` into little-endian f32, in ggml's order of operations.

    Buffers have any alignment. Raises ValueError for a wrong size and for a quant that can only be carried.
    """
    packed = get(quant)
    if is_carried(quant):
        raise ValueError(f"{quant} can be copied, but not read")
    count = _count(packed, source)
    _check_size(get("f32"), count, out)
    native, instructions = kernels.choose()
    if native is not None and packed.ggml_type in kernels.types(native):
        native.dequantize(instructions, packed.ggml_type, source, out)
    else:
        from modelbuild.tensors.quants import _reference

        _reference.dequantize(quant, source, out)


def widen(dtype: str, source: ReadableBuffer, out: WriteableBuffer) -> None:
    """Write integers, f64 or fp8 values as little-endian f32, rounded to nearest even. Raises ValueError for other dtypes."""
    from modelbuild.tensors.quants import _widen

    _check_size(get("f32"), _count(get(dtype), source), out)
    _widen.widen(dtype, source, out)


def first_nonfinite(dtype: str, source: ReadableBuffer) -> int:
    """The position of the first NaN or infinity among f32, f16, bf16 or f64 values; -1 where there is none."""
    if dtype not in CHECKED:
        raise ValueError(f"expected f32, f16, bf16 or f64 values, got {dtype}")
    floats = get(dtype)
    _count(floats, source)
    native, instructions = kernels.choose()
    if native is not None:
        return int(native.first_nonfinite(instructions, floats.ggml_type, source))
    from modelbuild.tensors.quants import _numpy

    return _numpy.first_nonfinite(dtype, source)


def instruction_set() -> str:
    """What quantizes here: avx512, avx2, portable, or numpy. MODELBUILD_KERNELS forces one."""
    return kernels.choose()[1]


def _count(quant: Quant, source: ReadableBuffer) -> int:
    """Elements in `source`."""
    size = memoryview(source).nbytes
    if size % quant.bytes:
        unit = "values" if quant.block == 1 else "blocks"
        raise ValueError(f"{size} bytes are not a whole number of {quant.name} {unit} of {quant.bytes} bytes")
    return size // quant.bytes * quant.block


def _check_size(quant: Quant, count: int, out: WriteableBuffer) -> None:
    if count % quant.block:
        raise ValueError(f"{count} values are not a multiple of the {quant.block} of a {quant.name} block")
    expected = count // quant.block * quant.bytes
    if (size := memoryview(out).nbytes) != expected:
        raise ValueError(f"out: {count} values take {expected} bytes as {quant.name}, got {size}")


def _check_weights(quant: Quant, count: int, weights: ReadableBuffer, columns: int) -> None:
    if columns <= 0 or columns % quant.block:
        raise ValueError(f"rows of {columns} values are not a multiple of the {quant.block} of a {quant.name} block")
    if count % columns:
        raise ValueError(f"{count} values are not a whole number of rows of {columns}")
    if (size := memoryview(weights).nbytes) != 4 * columns:
        raise ValueError(f"weights: {columns} columns take {4 * columns} bytes, got {size}")
    if (bad := first_nonfinite("f32", weights)) >= 0:
        raise ValueError(f"weights: that of column {bad} is not a finite number")
