"""The kernels of each instruction set against the numpy specification."""

from __future__ import annotations

import ctypes
import platform
import sys

import numpy as np
import pytest

from modelbuild.tensors import packing, quants
from tests.tensors.quants.quant_data import families, importances, paired
from tests.tensors.quants.ways import BLOCKS, NATIVE, WEIGHTED, native, pack, unpack

pytestmark = pytest.mark.skipif(native is None, reason="the native kernels are not built")

COUNT = 8192


@pytest.fixture(scope="module")
def data():
    return list(families(COUNT, seed=5))


@pytest.mark.parametrize("quant", BLOCKS)
def test_kernels_equal_numpy_on_every_family(data, quant):
    for name, values in data:
        expected, expected_found = pack("numpy", quant, "f32", values)
        for way in NATIVE:
            made, found = pack(way, quant, "f32", values)
            assert np.array_equal(made, expected), (name, way)
            assert found == expected_found, (name, way)


# Of the three importances of each family all are met with the peers.
@pytest.mark.parametrize(
    ("count", "each"), [(2048, 1), pytest.param(4096, 3, marks=pytest.mark.peer)], ids=["one", "three"]
)
@pytest.mark.parametrize("quant", WEIGHTED)
def test_kernels_equal_numpy_with_importances_on_every_family(quant, count, each):
    for name, values, weights in paired(count, 512, each=each, seed=9):
        expected, expected_found = pack("numpy", quant, "f32", values, weights, 512)
        for way in NATIVE:
            made, found = pack(way, quant, "f32", values, weights, 512)
            assert np.array_equal(made, expected), (name, way)
            assert found == expected_found, (name, way)


@pytest.mark.parametrize("quant", WEIGHTED)
def test_kernels_equal_numpy_with_rows_of_every_length(quant):
    """Rows end anywhere in the stretch that a kernel takes at a time, and several rows or a part of one are in it."""
    block = quants.get(quant).block
    random = np.random.default_rng(10)
    for columns in [block * n for n in ((1, 2, 3, 7, 31, 33, 100) if block == 32 else (1, 2, 3, 4, 5, 9))]:
        for rows in (1, 2, 5, 11):
            values = random.standard_normal(rows * columns).astype(np.float32)
            weights = (random.standard_normal(columns) ** 2).astype(np.float32)
            expected = pack("numpy", quant, "f32", values, weights, columns)[0]
            for way in NATIVE:
                assert np.array_equal(pack(way, quant, "f32", values, weights, columns)[0], expected), (
                    columns,
                    rows,
                    way,
                )


@pytest.mark.parametrize("quant", WEIGHTED)
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_kernels_weigh_halves_as_they_weigh_floats(quant, dtype):
    columns, rows = 1280, 9
    random = np.random.default_rng(11)
    half = np.zeros(rows * columns, np.uint16)
    packing.quantize(dtype, "f32", random.standard_normal(half.size).astype(np.float32), half)
    wide = np.zeros(half.size, np.float32)
    packing.dequantize(dtype, half, wide)
    weights = (random.standard_normal(columns) ** 2).astype(np.float32)
    expected = pack("numpy", quant, "f32", wide, weights, columns)[0]
    for way in ("numpy", *NATIVE):
        assert np.array_equal(pack(way, quant, dtype, half, weights, columns)[0], expected), way


@pytest.mark.parametrize("way", NATIVE)
@pytest.mark.parametrize("quant", WEIGHTED)
def test_kernels_take_weights_of_any_alignment(quant, way):
    values = np.random.default_rng(12).standard_normal(1536).astype(np.float32)
    weights = next(importances(512))[1]
    expected = pack("numpy", quant, "f32", values, weights, 512)[0]
    for shift in range(1, 8):
        source, moved = (memoryview(bytes(shift) + data.tobytes())[shift:] for data in (values, weights))
        assert np.array_equal(pack(way, quant, "f32", source, moved, 512)[0], expected)


@pytest.mark.parametrize("way", NATIVE)
@pytest.mark.parametrize("quant", BLOCKS)
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_kernels_read_every_finite_half(quant, dtype, way):
    patterns = np.arange(65536, dtype=np.uint16)
    exponent = 0x7C00 if dtype == "f16" else 0x7F80
    finite = patterns[(patterns & exponent) != exponent]
    source = np.random.default_rng(3).permutation(finite)[: finite.size // 256 * 256]
    made, found = pack(way, quant, dtype, source)
    expected, expected_found = pack("numpy", quant, dtype, source)
    assert np.array_equal(made, expected)
    assert found == expected_found


@pytest.mark.parametrize("way", NATIVE)
@pytest.mark.parametrize("quant", BLOCKS)
def test_kernels_equal_numpy_at_every_length(quant, way):
    form = quants.get(quant)
    values = np.random.default_rng(4).standard_normal(2048 + 256 * 3).astype(np.float32)
    whole = pack("numpy", quant, "f32", values)[0]
    for dtype in quants.FLOATS:
        for blocks in range(values.size // form.block + 1):
            source = np.ascontiguousarray(values[: blocks * form.block])
            if dtype == "f32":
                assert np.array_equal(pack(way, quant, dtype, source)[0], whole[: blocks * form.bytes]), blocks
            else:
                half = np.zeros(source.size, np.uint16)
                packing.quantize(dtype, "f32", source, half)
                packed = pack(way, quant, dtype, half)[0]
                wide = np.zeros(source.size, np.float32)
                packing.dequantize(dtype, half, wide)
                assert np.array_equal(packed, pack(way, quant, "f32", wide)[0]), (dtype, blocks)


@pytest.mark.parametrize("way", NATIVE)
@pytest.mark.parametrize("quant", BLOCKS)
def test_kernels_take_buffers_of_any_alignment(quant, way):
    form = quants.get(quant)
    values = np.random.default_rng(6).standard_normal(1536).astype(np.float32)
    packed = pack("numpy", quant, "f32", values)[0]
    for shift in range(1, 8):
        source = bytearray(shift) + values.tobytes()
        room = bytearray(b"\xaa" * (packed.size + 16))
        target = memoryview(room)[shift : shift + packed.size]
        native.quantize(way, form.ggml_type, 0, memoryview(source)[shift:], target)
        assert bytes(target) == packed.tobytes()
        assert room[:shift] == b"\xaa" * shift and room[shift + packed.size :] == b"\xaa" * (16 - shift)
        floats = bytearray(values.nbytes + 8)
        native.dequantize(
            way,
            form.ggml_type,
            memoryview(source[:shift] + packed.tobytes())[shift:],
            memoryview(floats)[shift : shift + values.nbytes],
        )
        assert floats[shift : shift + values.nbytes] == unpack("numpy", quant, packed).tobytes()


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="knows glibc's fenv_t for x86-64")
@pytest.mark.parametrize("way", NATIVE)
@pytest.mark.parametrize("quant", BLOCKS)
def test_subnormals_count_even_where_a_library_has_switched_them_off(quant, way):
    """Libraries compiled with -ffast-math do."""
    libm = ctypes.CDLL("libm.so.6")
    values = (np.random.default_rng(8).standard_normal(COUNT) * 1e-38).astype(np.float32)
    expected = pack("numpy", quant, "f32", values)[0]
    subnormal, one = 1e-310, float(len(values) > 0)
    kept = (ctypes.c_uint32 * 8)()
    libm.fegetenv(kept)
    flushing = (ctypes.c_uint32 * 8)(*kept)
    flushing[7] |= 0x8040  # mxcsr: flush to zero, denormals are zero
    libm.fesetenv(flushing)
    try:
        switched_off = subnormal * one == 0
        made = pack(way, quant, "f32", values)[0]
        still_off = subnormal * one == 0
    finally:
        libm.fesetenv(kept)
    assert switched_off and still_off
    assert np.array_equal(made, expected)


def test_the_kernels_and_the_modules_agree_on_sizes():
    for ggml_type, block, size, *halves in native.formats():
        form = quants.by_ggml_type(ggml_type)
        assert form is not None
        assert (form.block, form.bytes) == (block, size)
        assert tuple(at for at in halves if at >= 0) == quants.module(form.name).HALVES
    assert {row[0] for row in native.formats()} == {quants.get(name).ggml_type for name in quants.names()}


@pytest.mark.parametrize(("rows", "columns", "rank"), [(1, 1, 1), (7, 5, 3), (9, 131, 2), (5, 64, 16)])
def test_a_product_stays_in_its_buffers(rows: int, columns: int, rank: int) -> None:
    a, b = (np.arange(count, dtype="<f4") for count in (rank * columns, rows * rank))
    made = set()
    for way in native.instruction_sets():
        x = bytearray(4 * rows * columns)
        native.add_product(way, x, a.tobytes(), b.tobytes(), columns, rank, 1.0)
        made.add(bytes(x))
    expected = b.reshape(rows, rank).astype("<f8") @ a.reshape(rank, columns)
    assert len(made) == 1
    np.testing.assert_allclose(np.frombuffer(made.pop(), "<f4").reshape(rows, columns), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="do not fit factors"):
        native.add_product(
            "portable", bytearray(4 * rows * columns + 4), a.tobytes(), b.tobytes(), columns + 1, rank, 1.0
        )
