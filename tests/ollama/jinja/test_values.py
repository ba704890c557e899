"""Values: what of them is in reach, and how large they may be."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.ollama.jinja.values import (
    LONGEST_TEXT,
    UNDEFINED,
    Loop,
    Namespace,
    Unsupported,
    attribute_of,
    bounded,
    elements,
    item_of,
    join,
    printed,
    replace,
)


def test_a_mapping_has_entries_and_few_methods() -> None:
    value = {"a": 1, "items": 2}
    assert attribute_of(value, "a") == 1
    assert attribute_of(value, "items").call() == [("a", 1), ("items", 2)]
    assert attribute_of(value, "b") is UNDEFINED
    with pytest.raises(Unsupported, match="method 'update'"):
        attribute_of(value, "update")


@pytest.mark.parametrize("value", ["", 1, [], {}, (), Namespace({}), None])
def test_nothing_of_python_is_an_attribute(value: Any) -> None:
    for name in ("__class__", "__init__", "__dict__"):
        try:
            assert attribute_of(value, name) is UNDEFINED
        except Unsupported:
            continue


def test_an_element_that_is_not_there_is_undefined() -> None:
    assert item_of([1, 2], -1) == 2
    assert item_of([1, 2], 2) is UNDEFINED
    assert item_of({"a": 1}, "a") == 1
    assert item_of("abc", 1) == "b"
    with pytest.raises(TypeError):
        item_of(UNDEFINED, 0)


def test_a_loop_tells_where_it_is() -> None:
    loop = Loop(["a", "b"])
    assert [loop.get(name) for name in ("index", "first", "last", "previtem", "nextitem")] == [
        1,
        True,
        False,
        UNDEFINED,
        "b",
    ]
    assert loop.get("items") is UNDEFINED


def test_lists_and_mappings_are_not_printed() -> None:
    assert [printed(value) for value in ("a", None, True, 1, UNDEFINED)] == ["a", "None", "True", "1", ""]
    for value in ([], {}, ()):
        with pytest.raises(Unsupported):
            printed(value)


def test_values_have_bounds() -> None:
    assert bounded("a" * LONGEST_TEXT)
    for value in ("a" * (LONGEST_TEXT + 1), [0] * (LONGEST_TEXT + 1), 1 << 63):
        with pytest.raises(Unsupported):
            bounded(value)
    with pytest.raises(Unsupported):
        replace("a" * 1000, "a", "b" * LONGEST_TEXT)
    with pytest.raises(Unsupported):
        join(["a"] * 100, "b" * LONGEST_TEXT)


def test_what_can_be_iterated() -> None:
    assert elements({"a": 1}) == ["a"]
    assert elements(UNDEFINED) == []
    with pytest.raises(TypeError):
        elements(1)
