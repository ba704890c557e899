"""What a template may call by name."""

from __future__ import annotations

import pytest

from modelbuild.ollama.jinja.functions import FILTERS, GLOBALS, OPERATORS, TESTS
from modelbuild.ollama.jinja.values import LONGEST_TEXT, UNDEFINED, Refused, Unsupported


def test_names_are_those_of_jinja() -> None:
    defaults = pytest.importorskip("jinja2.defaults", reason="jinja2 is not installed")
    assert set(FILTERS) <= set(defaults.DEFAULT_FILTERS)
    assert set(TESTS) <= set(defaults.DEFAULT_TESTS)
    assert set(GLOBALS) - set(defaults.DEFAULT_NAMESPACE) == {"raise_exception", "strftime_now"}


def test_a_template_refuses_a_conversation() -> None:
    with pytest.raises(Refused, match="no system"):
        GLOBALS["raise_exception"].call("no system")


def test_a_date_is_its_format_between_marks() -> None:
    assert GLOBALS["strftime_now"].call("%Y") == "\ue000%Y\ue001"


def test_items_are_chosen_by_a_test_or_by_what_they_are() -> None:
    people = [{"role": "user", "n": 1}, {"role": "system"}]
    assert FILTERS["selectattr"](people, "role", "equalto", "user") == people[:1]
    assert FILTERS["rejectattr"](people, "n") == people[1:]
    assert FILTERS["select"]([1, 2, 3], "odd") == [1, 3]
    with pytest.raises(Unsupported, match="test 'callback'"):
        FILTERS["select"]([1], "callback")


def test_a_filter_is_mapped_by_name() -> None:
    assert FILTERS["map"]([" a"], "trim") == ["a"]
    assert FILTERS["map"]([{}], attribute="a", default=0) == [0]
    with pytest.raises(Unsupported, match="filter 'attr'"):
        FILTERS["map"]([1], "attr")


def test_what_is_undefined_has_a_default() -> None:
    assert FILTERS["default"](UNDEFINED, "x") == "x"
    assert FILTERS["default"]("", "x") == ""
    assert FILTERS["default"]("", "x", True) == "x"


def test_operators_make_nothing_without_end() -> None:
    for make in (
        lambda: OPERATORS["*"]("a", LONGEST_TEXT + 1),
        lambda: OPERATORS["*"](LONGEST_TEXT + 1, [0]),
        lambda: OPERATORS["+"]("a" * (LONGEST_TEXT + 1), "a"),
        lambda: OPERATORS["%"]("%999999999d", 1),
        lambda: GLOBALS["range"].call(LONGEST_TEXT + 1),
    ):
        with pytest.raises(Unsupported):
            make()
