"""How errors look."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error, Errors, Problems, Stopped, render


def test_error_has_place_line_facts_and_hint() -> None:
    error = Error(
        "parameter 'temperature' expects a number, got 'warm'",
        path="Modelfile", line=3, column=23, source="PARAMETER temperature warm", width=4,
        facts=[("known", "a\nb"), ("longer label", "c")], hint="say a number",
    )  # fmt: skip
    assert render(error) == (
        "error: Modelfile:3:23: parameter 'temperature' expects a number, got 'warm'\n"
        "  3 | PARAMETER temperature warm\n"
        "    |                       ^^^^\n"
        "  known         a\n"
        "                b\n"
        "  longer label  c\n"
        "  hint          say a number"
    )


def test_tabs_keep_the_mark_under_its_word() -> None:
    assert render(Error("x", path="f", line=1, column=3, source="\t\tab", width=2)).splitlines()[2] == "    | \t\t^^"


def test_long_line_is_cut_around_the_column() -> None:
    text = render(Error("x", path="f", line=1, column=2001, source="a" * 2000 + "b" * 2000, width=5))
    shown, marks = text.splitlines()[1:]
    assert len(shown) < 140
    assert shown[marks.index("^")] == "b" and shown[marks.index("^") - 1] == "a"
    assert marks.count("^") == 5


def test_errors_are_kept_apart() -> None:
    assert str(Errors([Error("a"), Error("b", path="f")])) == "error: a\n\nerror: f: b"


def test_a_replaced_part_leaves_the_others_and_the_first_error_alone() -> None:
    error = Error("x", path="f", line=3, facts=[("a", "b")], hint="c")
    other = error.replace(path="g", hint=None)
    assert (other.what, other.place, other.facts, other.hint) == ("x", "g:3", (("a", "b"),), None)
    assert (error.place, error.hint) == ("f:3", "c")


def test_an_error_of_a_step_says_what_it_knows_of_its_place() -> None:
    assert render(Error("x", input="config.json", line=3)) == "error: config.json:3: x"
    assert render(Error("x", parameter=["mix", "tensors", "attn.*"])) == "error: mix.tensors.attn.*: x"


def test_what_a_reader_calls_a_path_is_an_input_of_the_step_that_gave_it() -> None:
    error = Error("x", path="config.json", line=3).of_input()
    assert (error.path, error.input, error.line) == (None, "config.json", 3)
    assert error.of_input() is error


class Line:
    """The smallest place."""

    def __init__(self, number: int) -> None:
        self.number = number

    def placed(self, error: Error) -> Error:
        return error if error.path else Error(error.what, path="f", line=self.number)


def test_problems_are_gathered_and_reading_goes_on() -> None:
    problems = Problems()
    read = []
    for number, text in enumerate(["1", "x", "3", "y"], 1):
        with problems.at(Line(number)):
            if not text.isdecimal():
                raise Error(f"'{text}' is no number")
            read.append(int(text))
    assert read == [1, 3]
    assert [str(error) for error in problems.errors] == ["error: f:2: 'x' is no number", "error: f:4: 'y' is no number"]


def test_an_error_that_has_a_place_keeps_it() -> None:
    problems = Problems()
    with problems.at(Line(1)), problems.at(Line(2)):
        raise Error("a", path="g")
    assert [error.place for error in problems.errors] == ["g"]


@pytest.mark.parametrize("fault", [Errors([Error("a")]), Stopped(), KeyError("a")])
def test_only_one_error_is_gathered_all_else_goes_on_up(fault: Exception) -> None:
    problems = Problems()
    with pytest.raises(type(fault)), problems.at(Line(1)):
        raise fault
    assert not problems


def test_warnings_are_no_reason_to_stop() -> None:
    problems, part = Problems(), Problems()
    part.warn(Error("w"))
    problems.take(part)
    assert not problems and [warning.what for warning in problems.warnings] == ["w"]
    part.add(Error("a"), Error("b"))
    problems.take(part)
    assert problems and len(problems.errors) == 2


def test_an_error_with_notes_is_replaced_as_any_other() -> None:
    error = Error("wrong", path="a", hint="so")
    error.add_note("from outside")
    assert str(error.replace(path="b")) == str(Error("wrong", path="b", hint="so"))
