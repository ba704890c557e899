"""How errors look."""

from __future__ import annotations

from modelbuild.errors import Error, Errors, render


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
