"""Tags and tokens: where a tag ends, and what it takes of the text around it."""

from __future__ import annotations

import pytest

from modelbuild.ollama.jinja.lexer import split, unquoted
from modelbuild.ollama.jinja.values import Unsupported


def tags(text: str) -> list[tuple[str, str]]:
    """Each tag's kind, and its text or its tokens."""
    return [(tag.kind, tag.text or " ".join(token.text for token in tag.tokens)) for tag in split(text)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a{{ b }}c", [("text", "a"), ("expression", "b"), ("text", "c")]),
        ("a {{- b -}} c", [("text", "a"), ("expression", "b"), ("text", "c")]),
        ("a\n  {% if b %}\nc", [("text", "a\n"), ("statement", "if b"), ("text", "c")]),
        ("a\n  {%+ if b +%}\nc", [("text", "a\n  "), ("statement", "if b"), ("text", "\nc")]),
        ("a{# {{ b }} #}c", [("text", "a"), ("text", "c")]),
        ("{{ {'a': {'}}': 1}}.a }}", [("expression", "{ 'a' : { '}}' : 1 } } . a")]),
        ("{{ b }}\r\nc\r\n", [("expression", "b"), ("text", "\nc")]),
    ],
)
def test_tags_of_a_text(text: str, read: list[tuple[str, str]]) -> None:
    assert tags(text) == read


@pytest.mark.parametrize("text", ["{{ a", "{# a", "{{ (a] }}", "{{ ) }}", "{{ 'a }}", "{{ a ? b }}"])
def test_what_is_no_tag_is_not_read(text: str) -> None:
    with pytest.raises(Unsupported):
        tags(text)


@pytest.mark.parametrize(
    ("word", "text"),
    [(r"'a\n'", "a\n"), (r"'\x41\u00e4\101'", "A\xe4A"), (r'"\""', '"'), (r"'\q'", "\\q"), ("'a\\\nb'", "ab")],
)
def test_escapes_are_those_of_python(word: str, text: str) -> None:
    assert unquoted(word) == text


def test_no_text_holds_what_is_no_character() -> None:
    with pytest.raises(Unsupported):
        unquoted(r"'\U00110000'")
