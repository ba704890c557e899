"""`${…}` in strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbuild.errors import Error
from modelbuild.project.variables import Scalar, fill, typed

SCOPE: dict[str, Scalar] = {
    "n": 8, "x": 0.5, "t": True, "s": "S", "matrix.base": "small", "matrix.base.value": "./b", "matrix.parameters": "hot",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("plain $ {n} $n {{ $x }}", "plain $ {n} $n {{ $x }}"),
        ("${n}", 8),
        ("${x}", 0.5),
        ("${t}", True),
        ("${s}", "S"),
        (" ${n}", " 8"),
        ("${n}${n}", "88"),
        ("${t}/${x}", "true/0.5"),
        ("${matrix.base}:${matrix.base.value}", "small:./b"),
        ("$${n}", "${n}"),
        ("$$${n}", "$${n}"),
        ("$${", "${"),
        ("a$${n}b${n}", "a${n}b8"),
    ],
)
def test_filled(text: str, value: Scalar) -> None:
    assert fill(text, SCOPE) == value
    assert type(fill(text, SCOPE)) is type(value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("${", "has no closing"),
        ("a${n", "has no closing"),
        ("${n\n}", "has no closing"),
        ("${}", "expected the name of a variable"),
        ("${ n }", "expected the name of a variable"),
        ("${1a}", "expected the name of a variable"),
        ("${matrix}", "unknown variable 'matrix'"),
        ("${matrix.}", "expected the name of a variable"),
        ("${matrix.base.label}", "expected the name of a variable"),
        ("${m}", "unknown variable 'm'"),
        ("${matrix.bse}", "the matrix has no axis 'bse'"),
        ("${matrix.parameters.value}", "is a table or a list"),
    ],
)
def test_refused(text: str, complaint: str) -> None:
    with pytest.raises(Error, match=complaint):
        fill(text, SCOPE)


@given(st.text(alphabet="${}nx. matrix"))
def test_any_text_is_filled_or_refused(text: str) -> None:
    try:
        fill(text, SCOPE)
    except Error as error:
        assert error.what


@given(st.text())
def test_an_escaped_text_comes_back(text: str) -> None:
    escaped = text.replace("${", "$${")
    if "$$${" not in escaped:
        assert fill(escaped, {}) == text


def test_a_text_of_the_environment_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(Error, match=r"expected Unicode text, got 'a\\udcff'"):
        typed("a\udcff", "default")
    with pytest.raises(Error, match=r"expected a number, got 'wärm\\udcff'"):
        typed("wärm\udcff", 0.5)
