"""The budget of one rendering, and names in scopes."""

from __future__ import annotations

import pytest

from modelbuild.ollama.jinja.run import STEPS, Run, Scope
from modelbuild.ollama.jinja.values import LONGEST_TEXT, UNDEFINED, Unsupported


def test_steps_end() -> None:
    run = Run()
    run.step(STEPS)
    with pytest.raises(Unsupported, match="too many steps"):
        run.step()


def test_long_values_count_for_more() -> None:
    run = Run()
    run.handle("a" * 6400)
    run.handle([0] * 50)
    assert run.steps == 150


def test_what_a_list_holds_twice_counts_twice() -> None:
    run = Run()
    shared = ["a", "b"]
    assert run.keep([shared, shared]) == [shared, shared]
    once = Run()
    once.keep([shared])
    assert run.steps > once.steps


def test_a_list_that_doubles_ends() -> None:
    run, value = Run(), list[object]()
    with pytest.raises(Unsupported):
        for _ in range(60):
            value = run.keep([value, value])


def test_text_ends() -> None:
    run, out = Run(), list[str]()
    with pytest.raises(Unsupported, match="too much text"):
        for _ in range(5):
            run.write(out, "a" * LONGEST_TEXT)
    assert len(out) == 4


def test_a_name_is_looked_for_from_the_inside_out() -> None:
    inner = Scope({"a": 1}, Scope({"a": 2, "b": 3}, None))
    assert (inner.get("a"), inner.get("b"), inner.get("c")) == (1, 3, UNDEFINED)
