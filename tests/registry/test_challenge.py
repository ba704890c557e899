from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbuild.registry.challenge import LONGEST, Challenge, parse

BEARER = Challenge(
    "bearer", {"realm": "https://auth.example.com/token", "service": "r", "scope": "repository:a/b:pull,push"}
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,push"'], [BEARER]),
        (['bearer  Realm = "https://auth.example.com/token" , service=r,\tscope="repository:a/b:pull,push",'], [BEARER]),
        (['Basic realm="x"', "Negotiate"], [Challenge("basic", {"realm": "x"}), Challenge("negotiate", {})]),
        (['Basic realm="x", Bearer realm="y"'], [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})]),
        (['Negotiate, Basic realm="x"'], [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        (['NTLM TlRMTVNTUAAB==, Basic realm="x"'], [Challenge("ntlm", {}), Challenge("basic", {"realm": "x"})]),
        ([r'Basic realm="a \"b\", c\\"'], [Challenge("basic", {"realm": 'a "b", c\\'})]),
        (['Basic realm="a",realm="b"'], [Challenge("basic", {"realm": "a"})]),
        (['Basic realm="open'], [Challenge("basic", {})]),
        (["", " , ,", '"x"', "=", "\x00"], []),
    ],
)  # fmt: skip
def test_challenges(headers: list[str], expected: list[Challenge]) -> None:
    assert parse(headers) == expected


@given(st.lists(st.text(alphabet='ab=", \\\t/\n', max_size=40)))
def test_any_text_is_read_as_far_as_it_can_be(headers: list[str]) -> None:
    for challenge in parse(headers):
        assert challenge.scheme == challenge.scheme.lower()


def test_a_long_header_is_cut() -> None:
    assert parse(["Basic " + 'a="b",' * LONGEST])[0].parameters == {"a": "b"}
    assert parse(["a " * LONGEST])
