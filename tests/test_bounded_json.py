"""JSON from outside: what is within memory and depth is read as ever, what is not is an error before it costs anything."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from modelbuild import bounded_json
from modelbuild.errors import Error
from tests.attacks import hostile


def what(act: Any, *args: Any) -> str:
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value.what


def read(text: str) -> Any:
    return bounded_json.parse(bounded_json.text(text.encode(), "x.json"), "x.json")


@pytest.mark.parametrize("character", ("a", "\u0120", "\u2581", "🦙", '"', "\\", "\n"))
def test_a_large_json_file_is_what_it_is(character: str) -> None:
    value = {"texts": [character * 100 + str(number) for number in range(12_000)], "numbers": [1, -2.5, True, None]}
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert len(text.encode()) > 1 << 20
        assert read(text) == value


def test_one_character_of_four_bytes_does_not_make_a_text_four_times_as_large() -> None:
    data = ('{"a": "' + "x" * (2 << 20) + '🦙"}').encode()
    assert len(bounded_json.text(data, "x.json").encode()) < len(data) + 20
    assert read(data.decode())["a"].endswith("x🦙")


@pytest.mark.parametrize("item", (b"[],", b'{"":1},', b'"ab",', b'"ab":1,'))
def test_more_values_than_memory_is_an_error_before_they_are_made(item: bytes) -> None:
    data = b"[" + item * (36_000_000 // len(item)) + b"0]"
    assert what(bounded_json.text, data, "x.json") == "contains more than can be read"


def test_json_as_large_as_the_largest_real_tokenizers_is_read() -> None:
    """As many marks as Gemma 3's file has: 262 thousand tokens and 515 thousand merges as pairs."""
    memory = bounded_json.check(b'["a", "b"],' * 515_000 + b'"a": 1,' * 262_000, "x.json")
    assert memory + 3 * 2 * 33_000_000 < bounded_json.MEMORY_LIMIT


def test_how_deep_json_may_be() -> None:
    limit = bounded_json.DEPTH_LIMIT
    assert read(hostile.deep(limit)) is not None
    for depth in (limit + 1, 300, 9_000, 200_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            text = opening * depth + "1" + closing * depth
            assert what(read, text).startswith("expected JSON that can be read: it is nested too deeply")


def test_what_is_no_json_is_an_error_with_its_place() -> None:
    with pytest.raises(Error) as caught:
        read('{\n  "a": tru\n}')
    assert (caught.value.place, caught.value.source) == ("x.json:2:8", '  "a": tru')
    assert what(bounded_json.text, b'"\xff"', "x.json") == "expected UTF-8, got byte 0xff at 1"


def test_garbage_is_collected_again_after_a_large_file() -> None:
    assert gc.isenabled()
    with bounded_json.uncollected(2 << 20):
        assert not gc.isenabled()
    assert gc.isenabled()
    with bounded_json.uncollected(10):
        assert gc.isenabled()


def test_a_byte_order_mark_is_told_in_our_words() -> None:
    with pytest.raises(Error) as caught:
        bounded_json.parse("\ufeff{}", "config.json")
    assert (caught.value.what, caught.value.hint) == (
        "begins with a byte order mark",
        "save the file as UTF-8 without one",
    )
