"""f32, f16 and bf16 to one another, against gguf-py."""

from __future__ import annotations

import gguf
import gguf.quants
import numpy as np
import pytest

from tests.tensors.quants.quant_data import families
from tests.tensors.quants.ways import WAYS, pack, unpack

INFINITY = {"f32": 0x7F800000, "f16": 0x7C00, "bf16": 0x7F80}


def wide(dtype: str, patterns: np.ndarray) -> np.ndarray:
    """The values of 16-bit patterns as f32, by gguf-py."""
    return gguf.quants.dequantize(
        patterns.view(np.uint8 if dtype == "bf16" else "<f2"), gguf.GGMLQuantizationType[dtype.upper()]
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("to", ["f16", "bf16"])
def test_f32_is_cast_as_gguf_py_casts_it(to, way):
    for name, values in families(5 * 256 * 7):
        values = values[:-3]
        with np.errstate(all="ignore"):
            expected = gguf.quants.quantize(values, gguf.GGMLQuantizationType[to.upper()])
        made, (nonfinite, overflow) = pack(way, to, "f32", values)
        assert made.tobytes() == expected.tobytes(), name
        lost = np.flatnonzero((made.view("<u2") & INFINITY[to]) == INFINITY[to])
        assert (nonfinite, overflow) == (-1, int(lost[0]) if lost.size else -1), name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("to", ["f16", "bf16"])
def test_casts_round_ties_to_even_in_every_binade(to, way):
    """Each value but the largest, the middle to the next one, and the f32 neighbours of that middle."""
    narrow = np.arange(INFINITY[to] - 1, dtype=np.uint16)
    low, high = wide(to, narrow), wide(to, narrow + np.uint16(1))
    middle = ((low.astype(np.float64) + high) / 2).astype(np.float32)
    for values, expected in (
        (low, narrow),
        (np.nextafter(middle, np.float32(0)), narrow),
        (middle, narrow + (narrow & 1)),
        (np.nextafter(middle, np.float32(np.inf)), narrow + 1),
    ):
        assert np.array_equal(pack(way, to, "f32", values)[0].view("<u2"), expected)
        assert np.array_equal(pack(way, to, "f32", -values)[0].view("<u2"), expected | 0x8000)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_every_finite_half_widens_exactly_and_comes_back(dtype, way):
    patterns = np.arange(65536, dtype=np.uint16)
    finite = patterns[(patterns & INFINITY[dtype]) != INFINITY[dtype]]
    made = pack(way, "f32", dtype, finite)[0].view(np.float32)
    assert made.tobytes() == wide(dtype, finite).tobytes()
    assert unpack(way, dtype, finite).tobytes() == made.tobytes()
    assert np.array_equal(pack(way, dtype, "f32", made)[0].view(np.uint16), finite)


@pytest.mark.parametrize("way", WAYS)
def test_bf16_and_f16_meet_by_way_of_f32(way):
    patterns = np.arange(65536, dtype=np.uint16)
    for dtype, to in (("f16", "bf16"), ("bf16", "f16")):
        finite = patterns[(patterns & INFINITY[dtype]) != INFINITY[dtype]]
        made, (_, overflow) = pack(way, to, dtype, finite)
        expected, (_, expected_overflow) = pack("numpy", to, "f32", wide(dtype, finite))
        assert np.array_equal(made, expected)
        assert overflow == expected_overflow


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [0, 1, 1023, 1024, 1025, 2000])
def test_a_cast_writes_everything_even_around_a_nan(at, way):
    """As ggml does: f16 gets the one quiet NaN, bf16 the upper half made quiet."""
    for bits, f16, bf16 in (
        (0x7F800001, 0x7E00, 0x7FC0),
        (0xFFC12345, 0xFE00, 0xFFC1),
        (0x7F800000, 0x7C00, 0x7F80),
        (0xFF800000, 0xFC00, 0xFF80),
    ):
        values = np.linspace(-1, 1, 2001, dtype=np.float32)
        values.view(np.uint32)[at] = bits
        for to, expected in (("f16", f16), ("bf16", bf16)):
            made, found = pack(way, to, "f32", values)
            assert found == (at, -1)
            assert made.view(np.uint16)[at] == expected
            rest = np.delete(values, at)
            assert np.array_equal(
                np.delete(made.view(np.uint16), at), pack("numpy", to, "f32", rest)[0].view(np.uint16)
            )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_the_same_type_is_a_copy(dtype, way):
    data = np.random.default_rng(0).integers(0, 256, 4 * 999, np.uint8)
    assert pack(way, dtype, dtype, data)[0].tobytes() == data.tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_what_rounds_to_infinity_overflows(way):
    for to, over in (("f16", 65520.0), ("bf16", 255.5 * 2.0**120)):
        values = np.full(1500, np.nextafter(np.float32(over), np.float32(0)))
        assert pack(way, to, "f32", values)[1] == (-1, -1)
        values[1337] = -over
        assert pack(way, to, "f32", values)[1] == (-1, 1337)
