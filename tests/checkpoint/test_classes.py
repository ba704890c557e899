"""The classes that texts tell of are those that the architectures read."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint import architectures, classes
from modelbuild.errors import Error


def test_the_texts_tell_what_is_read() -> None:
    assert classes.read().keys() == architectures.readers().keys()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("MistralModel", "MistralForCausalLM"),
        ("LlamaForSequenceClassification", "LlamaForCausalLM"),
        ("llamaforcausallm", "LlamaForCausalLM"),
        ("GraniteMoeModel", "GraniteMoeForCausalLM"),
        ("Gemma3TextModel", "Gemma3ForCausalLM"),
        ("NoneForCausalLM", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_the_nearest_class(name: str, near: str | None) -> None:
    assert classes.nearest(name) == near


def test_what_can_be_a_class() -> None:
    assert classes.checked("MyForCausalLM") == "MyForCausalLM"
    assert classes.checked("") is None
    for wrong in ("a b", "../x", "1x", "ünx", "x" * 200, 5):
        with pytest.raises(Error, match="expects a class such as 'LlamaForCausalLM'"):
            classes.checked(wrong)
