"""YAML of model cards, within bounds."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint import card_yaml


def test_cards_may_merge_but_not_without_end() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}\nd: &d {<<: *d, e: 5}\n"
    assert card_yaml.load(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2, "z": 4},
        "d": {"e": 5},
    }
    doubled = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60))]
    wide = [f"a: &a {{{', '.join(f'k{n}: 1' for n in range(1000))}}}", f"b: {{<<: [{', '.join(['*a'] * 5000)}]}}"]
    for lines in (doubled, wide):
        try:
            # Newer versions of PyYAML take in each key once.
            assert card_yaml.load("\n".join(lines))
        except card_yaml.Refused as refused:
            assert refused.problem == "it has more than 100,000 values"


@pytest.mark.parametrize(
    "value", ("1" + ":1" * 5000, "1" + ":1" * 5000 + ".5", "0x" + "f" * 5000, "0b" + "1" * 5000, "9" * 5000)
)
def test_numbers_of_a_card_have_a_length(value: str) -> None:
    with pytest.raises(card_yaml.Refused):
        card_yaml.load(f"a: {value}\n")


@pytest.mark.parametrize("value", ("!!bool x", "!!int x", "!!int ''", "!!float x", "!!timestamp x"))
def test_values_of_a_card_that_are_not_of_their_type(value: str) -> None:
    with pytest.raises(card_yaml.Refused, match="a value is not of its type"):
        card_yaml.load(f"a: {value}\n")
