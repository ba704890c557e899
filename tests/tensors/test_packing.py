"""What packing promises its callers: errors with positions, buffers of every kind."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from modelbuild.tensors import kernels, packing, quants
from modelbuild.tensors.packing import NotFinite, Overflow
from tests.tensors.quants.ways import BLOCKS, NATIVE, WAYS, WEIGHTED, native, pack

ROOT = Path(__file__).parents[2]


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MODELBUILD_KERNELS"} | env
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_formats_that_are_only_carried_are_neither_made_nor_read():
    with pytest.raises(ValueError, match="iq2_xxs can be copied, but not made"):
        packing.quantize("iq2_xxs", "f32", bytes(1024), bytearray(66))
    with pytest.raises(ValueError, match="iq2_xxs can be copied, but not read"):
        packing.dequantize("iq2_xxs", bytes(66), bytearray(1024))


@pytest.mark.parametrize(
    ("dtype", "source", "out", "message"),
    [
        ("f32", 1024, 143, "256 values take 144 bytes as q4_k, got 143"),
        ("f32", 1020, 144, "255 values are not a multiple of the 256 of a q4_k block"),
        ("f32", 1023, 144, "1023 bytes are not a whole number of f32 values of 4 bytes"),
        ("f64", 2048, 144, "expected f32, f16 or bf16 values, got f64"),
    ],
)
def test_wrong_sizes_are_value_errors(dtype, source, out, message):
    with pytest.raises(ValueError, match=message):
        packing.quantize("q4_k", dtype, bytes(source), bytearray(out))


@pytest.mark.parametrize(
    ("columns", "weights", "message"),
    [
        (256, np.ones(255), "weights: 256 columns take 1024 bytes, got 1020"),
        (256, np.ones(512), "weights: 256 columns take 1024 bytes, got 2048"),
        (0, np.ones(0), "rows of 0 values are not a multiple of the 256 of a q4_k block"),
        (-256, np.ones(256), "rows of -256 values are not a multiple"),
        (128, np.ones(128), "rows of 128 values are not a multiple of the 256 of a q4_k block"),
        (768, np.ones(768), "1024 values are not a whole number of rows of 768"),
        (2048, np.ones(2048), "1024 values are not a whole number of rows of 2048"),
        (256, np.where(np.arange(256) < 200, 1, np.inf), "weights: that of column 200 is not a finite number"),
        (256, np.where(np.arange(256) == 3, np.nan, 1), "weights: that of column 3 is not a finite number"),
    ],
)
@pytest.mark.parametrize("quant", ["q4_k", "tq1_0"])
def test_weights_that_fit_no_row_are_value_errors(quant, columns, weights, message):
    out = bytearray(1024 // 256 * quants.get(quant).bytes)
    with pytest.raises(ValueError, match=message.replace("q4_k", quant)):
        packing.quantize(quant, "f32", bytes(4096), out, weights.astype(np.float32), columns)


@pytest.mark.parametrize("way", NATIVE)
def test_the_kernels_check_weights_themselves(way):
    """Against our own mistakes: a wrong size must not become a read out of bounds."""
    for columns, size in ((0, 0), (-256, 1024), (256, 1020), (256, 2048), (128, 512), (768, 3072), (1 << 62, 1024)):
        with pytest.raises(ValueError, match="weights do not fit"):
            native.quantize(way, 12, 0, bytes(4096), bytearray(576), bytes(size), columns)
    for kind, size in ((8, 1088), (0, 4096), (1, 2048), (34, 216)):
        with pytest.raises(ValueError, match="takes no weights"):
            native.quantize(way, kind, 0, bytes(4096), bytearray(size), bytes(1024), 256)


@pytest.mark.parametrize("quant", quants.names())
def test_weights_change_what_takes_them_and_nothing_else(quant):
    form = quants.get(quant)
    values = np.random.default_rng(0).standard_normal(2048).astype(np.float32)
    weights = (np.random.default_rng(1).standard_normal(512) ** 2).astype(np.float32)
    plain, weighed = (np.zeros(2048 // form.block * form.bytes, np.uint8) for _ in range(2))
    packing.quantize(quant, "f32", values, plain)
    packing.quantize(quant, "f32", values, weighed, weights, 512)
    assert quants.takes_weights(quant) == (not np.array_equal(plain, weighed))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", WEIGHTED)
def test_bad_values_are_found_with_weights_too(quant, way):
    block = quants.get(quant).block
    weights = np.ones(1280, np.float32)
    for at in (0, 1279, 2559, 6399):
        values = np.random.default_rng(0).standard_normal(6400).astype(np.float32)
        values[at] = np.nan
        assert pack(way, quant, "f32", values, weights, 1280)[1] == (at, -1)
    values = np.random.default_rng(0).standard_normal(6400).astype(np.float32)
    values[2 * 1280 :] *= 1e15
    assert pack(way, quant, "f32", values, weights, 1280)[1] == (-1, 2 * 1280)
    values[2 * 1280 :] = 0
    values[1280 + block] = 1e15
    found = pack(way, quant, "f32", values, weights, 1280)[1]
    assert found == (-1, 1280 + block)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", BLOCKS)
@pytest.mark.parametrize("dtype", quants.FLOATS)
def test_the_first_value_that_is_not_finite_is_found(quant, dtype, way):
    count = 2560
    for bad in (np.nan, np.inf, -np.inf):
        for at in (0, 7, 1023, 1024, 2047, 2559):
            values = np.random.default_rng(0).standard_normal(count).astype(np.float32)
            values[at:] = bad
            source = values
            if dtype == "f16":
                source = values.astype(np.float16)
            elif dtype == "bf16":
                source = (values.view(np.uint32) >> 16).astype(np.uint16)
            assert pack(way, quant, dtype, source)[1] == (at, -1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", [quant for quant in BLOCKS if quants.module(quant).HALVES])
def test_the_first_block_whose_scale_overflows_is_found(quant, way):
    block = quants.get(quant).block
    for index in (0, 1, 3, 4, 7):
        values = np.random.default_rng(0).standard_normal(2560).astype(np.float32)
        values[index * block + 5 :: block] = 1e15
        assert pack(way, quant, "f32", values)[1] == (-1, index * block)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", ["q4_1", "q5_1", "q4_k", "q5_k"])
def test_a_minimum_that_overflows_is_found(quant, way):
    block = quants.get(quant).block
    values = np.full(2048, -1e7, np.float32) + np.arange(2048, dtype=np.float32)
    values[: 3 * block] = 1
    assert pack(way, quant, "f32", values)[1] == (-1, 3 * block)


def test_the_errors_name_the_position():
    values = np.ones(512, np.float32)
    values[300] = np.nan
    with pytest.raises(NotFinite, match="element 300 is not a finite number") as not_finite:
        packing.quantize("q4_k", "f32", values, bytearray(288))
    assert not_finite.value.index == 300
    values[300] = 1e30
    with pytest.raises(Overflow, match="from element 256 on") as overflow:
        packing.quantize("q4_k", "f32", values, bytearray(288))
    assert overflow.value.index == 256
    with pytest.raises(Overflow) as overflow:
        packing.quantize("f16", "f32", values, bytearray(1024))
    assert overflow.value.index == 300


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
def test_first_nonfinite_finds_the_first(dtype, way, monkeypatch):
    monkeypatch.setenv("MODELBUILD_KERNELS", way)
    kernels.choose.cache_clear()
    try:
        kind, infinity = {
            "f32": (np.uint32, 0x7F800000),
            "f16": (np.uint16, 0x7C00),
            "bf16": (np.uint16, 0x7F80),
            "f64": (np.uint64, 0x7FF0000000000000),
        }[dtype]
        for count in (0, 1, 5, 4096, 5000, 70001):
            values = np.full(count, infinity - 1, kind)
            assert packing.first_nonfinite(dtype, values) == -1
            for at in {0, count // 2, count - 1} - {-1}:
                if count:
                    worse = values.copy()
                    worse[at:] = infinity + (at % 2)
                    assert packing.first_nonfinite(dtype, worse) == at
                    assert packing.first_nonfinite(dtype, memoryview(b"x" + worse.tobytes())[1:]) == at
    finally:
        kernels.choose.cache_clear()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", [*BLOCKS, "f32", "f16", "bf16"])
def test_nothing_packs_to_nothing(quant, way):
    assert pack(way, quant, "f32", b"")[1] == (-1, -1)


def test_buffers_of_every_kind_are_taken(tmp_path):
    values = np.random.default_rng(0).standard_normal(512).astype(np.float32)
    expected = pack("numpy", "q4_k", "f32", values)[0].tobytes()
    path = tmp_path / "weights"
    path.write_bytes(values.tobytes())
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for source in (
            values.tobytes(),
            bytearray(values.tobytes()),
            memoryview(values),
            values.reshape(2, 256),
            mapped,
        ):
            for out in (bytearray(288), np.zeros(288, np.uint8), np.zeros((2, 36), np.float32)):
                packing.quantize("q4_k", "f32", source, out)
                assert memoryview(out).tobytes() == expected
    with pytest.raises((TypeError, ValueError, BufferError)):
        packing.quantize("q4_k", "f32", values, bytes(288))


@pytest.mark.skipif(native is None, reason="the native kernels are not built")
def test_quantizing_loads_no_numpy():
    code = (
        "import sys; from modelbuild.tensors import packing, quants; assert packing.instruction_set() != 'numpy'\n"
        "for form in map(quants.get, quants.names()):\n"
        "    out = bytearray(512 // form.block * form.bytes)\n"
        "    packing.quantize(form.name, 'f32', bytes(2048), out)\n"
        "    packing.quantize(form.name, 'f32', bytes(2048), out, bytes(1024), 256)\n"
        "    packing.dequantize(form.name, out, bytearray(2048))\n"
        "packing.first_nonfinite('f64', bytes(8)); quants.by_ggml_type(12); print('numpy' in sys.modules)"
    )
    done = run(code)
    assert (done.stdout.strip(), done.returncode) == ("False", 0), done.stderr


@pytest.mark.skipif(not NATIVE or (os.cpu_count() or 1) < 2, reason="needs the native kernels and two processors")
def test_other_threads_run_while_a_kernel_does():
    values = np.random.default_rng(0).standard_normal(1 << 22).astype(np.float32)
    out = bytearray(values.size // 256 * 144)
    done = threading.Event()

    def work() -> None:
        packing.quantize("q4_k", "f32", values, out)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    ticks = 0
    while not done.is_set():
        ticks += 1
        time.sleep(0.0002)
    thread.join()
    assert ticks > 5
