"""JSON is spelt as Go spells it, and read as Go reads it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error
from modelbuild.ollama.go_json import encode_json, parse_object
from tests.at_length import examples


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<a> & b", r'"\u003ca\u003e \u0026 b"'),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        ("\"\\/'", '"\\"\\\\/\'"'),
        ("\n\r\t\b\f", r'"\n\r\t\b\f"'),
        ("\x00\x01\x1f\x7f", '"\\u0000\\u0001\\u001f\x7f"'),
        ("é你👋\xa0", '"é你👋\xa0"'),
        ("\ud800", '"\ufffd"'),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-1, "-1"),
        (1 << 53, "9007199254740992"),
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (0.7, "0.7"),
        (100.0, "100"),
        (123456.789, "123456.789"),
        (1e-5, "0.00001"),
        (1.5e-6, "0.0000015"),
        (1e-6, "0.000001"),
        (9.99e-7, "9.99e-7"),
        (1e-7, "1e-7"),
        (1.25e-10, "1.25e-10"),
        (1e20, "100000000000000000000"),
        (123456789012345678901.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (5e-324, "5e-324"),
        ([], "[]"),
        ({}, "{}"),
        ([1, [2.5, "a"]], '[1,[2.5,"a"]]'),
        ({"b": 1, "a": {"d": 1, "c": 2}}, '{"b":1,"a":{"d":1,"c":2}}'),
    ],
)
def test_json_is_spelt_as_go_spells_it(value: Any, text: str) -> None:
    assert encode_json(value).decode() == text + "\n"


def test_maps_are_ordered_by_bytes() -> None:
    keys = ["b", "é", "a", "B", "_", "\U0001f44b", "\uffff"]
    text = encode_json(dict.fromkeys(keys, 0), sort_maps=True).decode()
    assert list(json.loads(text)) == sorted(keys, key=str.encode)


@settings(max_examples=examples(100), deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_reads_back(value: float) -> None:
    text = encode_json(value).decode().strip()
    assert float(text) == value
    small = value and not 1e-6 <= abs(value) < 1e21
    assert ("e" in text) == bool(small)


@settings(max_examples=examples(100), deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(
    st.text(), each)))  # fmt: skip
def test_json_reads_back(value: Any) -> None:
    assert json.loads(encode_json(value, sort_maps=True)) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_json_for_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        encode_json([value])


def test_no_json_for_other_types() -> None:
    with pytest.raises(TypeError, match="no JSON for bytes"):
        encode_json({"a": b""})


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "manifest is not JSON: expecting value at byte 0"),
        (b"[]", "manifest is not a JSON object"),
        (b'{"a": 1e999}', "manifest is not JSON: number out of range: 1e999"),
        (b'{"a": NaN}', "manifest is not JSON: number out of range: NaN"),
        (b'{"a": "\xff"}', "manifest is not JSON: not UTF-8"),
        (b'{"a":' + b"[" * 100_000, "manifest is not JSON: nested too deeply"),
    ],
)
def test_what_is_no_object(data: bytes, what: str) -> None:
    with pytest.raises(Error) as caught:
        parse_object(data, "manifest", "m")
    assert (caught.value.what, caught.value.path) == (what, "m")
