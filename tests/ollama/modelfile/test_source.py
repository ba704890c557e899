"""The text of a Modelfile: what Ollama drops of it, and where the rest stands."""

from __future__ import annotations

import re
import unicodedata

import pytest

from modelbuild.errors import Error, render
from modelbuild.ollama.modelfile import parse
from modelbuild.ollama.modelfile.source import DROPPED


def test_places_count_dropped_characters() -> None:
    read = parse("# \u200b\nFROM a\nSYSTEM \u200b\u200bb\nPARAMETER top_k x\u200b1", "Modelfile")
    assert [(each.line, each.column, each.value_column) for each in read.commands] == [
        (2, 1, 6),
        (3, 1, 10),
        (4, 1, 17),
    ]
    assert [(each.line, each.column) for each in read.warnings] == [(3, 8), (4, 18)]


def test_errors_show_no_control_characters() -> None:
    with pytest.raises(Error) as caught:
        parse("FROM x\nFOO \x1b[31m", "Modelfile")
    assert "\x1b" not in render(caught.value)


def test_the_dropped_characters_are_those_that_unicode_calls_unprintable() -> None:
    for code in range(0x110000):
        char = chr(code)
        category = unicodedata.category(char)
        if category == "Cn" or char in " \t\r\n":
            continue
        unprintable = category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")
        assert bool(re.match(DROPPED, char)) is unprintable, f"U+{code:04X}"
