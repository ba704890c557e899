"""Patterns end a module's path; those that could take hours are refused."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint.adapters.patterns import Patterns
from modelbuild.errors import Error

PATH = "model.layers.12.self_attn.q_proj"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("q_proj", True),
        ("self_attn.q_proj", True),
        ("proj", False),
        (r"layers\.(1|12)\..*q_proj", True),
        (r"layers\.\d+\.self_attn\.[qk]_proj", True),
        ("^model.layers.12.self_attn.q_proj", True),
        ("^layers.12.self_attn.q_proj", False),
        ("q_proj.", False),
    ],
)
def test_a_pattern_ends_the_path(pattern: str, fits: bool) -> None:
    assert Patterns({pattern: 3}, "rank_pattern").of(PATH, 8) == (3 if fits else 8)


def test_the_first_that_fits_counts() -> None:
    assert Patterns({"k_proj": 1, ".*_proj": 2, "q_proj": 3}, "rank_pattern").of(PATH, 8) == 2


@pytest.mark.parametrize("pattern", ["(a+)+x", "(.*)*", ".*.*.*.*x", "x" * 1001, "(", "[", "(?P<a>x)(?P=b)"])
def test_others_are_refused(pattern: str) -> None:
    with pytest.raises(Error, match="'alpha_pattern' contains a pattern that is"):
        Patterns({pattern: 3}, "alpha_pattern")


@pytest.mark.parametrize("said", [[1], "x", 3])
def test_anything_but_a_table_is_refused(said: object) -> None:
    with pytest.raises(Error, match="'rank_pattern' expects a table of patterns"):
        Patterns(said, "rank_pattern")
