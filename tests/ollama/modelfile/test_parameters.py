"""Values of parameters: what Go reads of a text, and what is stored."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error
from modelbuild.ollama.modelfile import parse
from modelbuild.ollama.modelfile.parameters import float32, parameter


def test_parameters_have_the_types_of_ollama() -> None:
    read = parse("FROM test\nPARAMETER temperature 0.5\nPARAMETER top_k 1", "Modelfile")
    assert read.parameters == {"temperature": 0.5, "top_k": 1}
    assert [type(each) for each in read.parameters.values()] == [float, int]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_ctx", "+4096", 4096),
        ("num_predict", "-1", -1),
        ("seed", "007", 7),
        ("seed", "9007199254740993", 9007199254740992),
        ("seed", "-1234567890123456789", -1234567890123456800),
        ("temperature", "1", 1.0),
        ("temperature", "0.123456789", 0.12345679),
        ("temperature", ".5", 0.5),
        ("temperature", "5.", 5.0),
        ("temperature", "1e-7", 1e-07),
        ("temperature", "1_0.5", 10.5),
        ("temperature", "0x1p-2", 0.25),
        ("temperature", "1e-60", 0.0),
        ("top_p", "0.7", 0.7),
        ("use_mmap", "T", True),
        ("use_mmap", "False", False),
        ("use_mmap", "0", False),
        ("stop", "", [""]),
    ],
)
def test_a_parameter_is_read_as_go_reads_it(name: str, text: str, value: Any) -> None:
    read = parse(f'FROM x\nPARAMETER {name} "{text}"', "Modelfile")
    assert not read.errors
    assert read.parameters == {name: value}
    assert type(read.parameters[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("num_ctx", "4k"), ("num_ctx", "1.0"), ("num_ctx", "0x10"), ("num_ctx", "1_000"), ("num_ctx", "٣"),
        ("num_ctx", "9223372036854775808"), ("num_ctx", ""), ("num_ctx", "9" * 5000), ("temperature", "1e39"),
        ("temperature", "inf"), ("temperature", "-Infinity"), ("temperature", "NaN"), ("temperature", "0x1"),
        ("temperature", "1__0"), ("temperature", "e5"), ("temperature", "."), ("temperature", ""),
        ("temperature", "0x1p99999"), ("use_mmap", "yes"), ("use_mmap", "tRUE"),
    ],
)  # fmt: skip
def test_a_parameter_that_go_cannot_read_is_an_error(name: str, text: str) -> None:
    read = parse(f'FROM x\nPARAMETER {name} "{text}"', "Modelfile")
    assert len(read.errors) == 1
    assert read.parameters == {}


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [("temperature", 1, 1.0), ("temperature", 0.2, 0.2), ("stop", "a", ["a"]), ("stop", ["a", "b"], ["a", "b"]),
     ("use_mmap", True, True), ("num_ctx", 8192, 8192), ("num_ctx", "8192", 8192)],
)  # fmt: skip
def test_a_value_of_toml_becomes_the_same(name: str, value: object, stored: object) -> None:
    assert parameter(name, value) == stored


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_ctx", True), ("num_ctx", 1.5), ("num_ctx", 1 << 63), ("temperature", True), ("temperature", float("nan")),
     ("temperature", 10**400), ("use_mmap", 1), ("use_mmap", [1]), ("stop", [1]), ("stop", 1), ("temperature", [1])],
)  # fmt: skip
def test_a_value_of_toml_of_the_wrong_type_is_an_error(name: str, value: object) -> None:
    with pytest.raises(Error, match=f"parameter '{name}' expects"):
        parameter(name, value)


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float32_is_the_shortest_decimal(value: float) -> None:
    numpy = pytest.importorskip("numpy")
    assert float32(value) == float(str(numpy.float32(value)))
    assert struct.pack("<f", float32(value)) == struct.pack("<f", value)


def test_float32_is_the_shortest_decimal_at_powers_of_two() -> None:
    numpy = pytest.importorskip("numpy")
    for power in range(-149, 128):
        assert float32(2.0**power) == float(str(numpy.float32(2.0**power))), power
