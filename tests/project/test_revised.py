"""What a difference of two texts reaches."""

from __future__ import annotations

import tomllib

import pytest

from modelbuild.project.revised import reached

TEXT = """
[vars]
who = "me"
[defaults]
quantize = "q8_0"
[model."a-*"]
system = "I am one of a."
[model.a]
from = "./w"
system = "I am a."
matrix = { quantize = ["q8_0", "f16"], seed = [1, 2] }
[model.b]
extends = "a"
license = "mine"
[model.c]
extends = "b"
[model.d]
from = "b"
parameters = { seed = 1, stop = ["x"] }
"""


@pytest.mark.parametrize(
    ("old", "new", "models"),
    [
        ("[vars]", "# A remark\n\n[vars]", set()),
        ("I am a.", "I am new.", {"a", "b", "c"}),
        ('license = "mine"', 'license = "yours"', {"b", "c"}),
        ('license = "mine"\n', "", {"b", "c"}),
        ("seed = 1,", "seed = 2,", {"d"}),
        ("[model.d]", "[model.d]\nmessages = [{ role = 'user', content = 'hi' }]", {"d"}),
        ("I am a.", "I am ${who}.", None),
        ("I am one of a.", "I am new.", None),
        ('from = "b"', 'from = "a"', None),
        ('extends = "b"', 'extends = "a"', None),
        ("me", "you", None),
        ("[model.d]", "[model.e]", None),
        ("[model.d]", "[model.e]\nfrom = 'b'\n[model.d]", None),
        ("[defaults]", "[defaults]\nsystem = 'd'", None),
        ('quantize = ["q8_0", "f16"], seed = [1, 2]', 'seed = [1, 2], quantize = ["q8_0", "f16"]', None),
        ("[model.d]", "[model.d]\nname = 'x'", None),
    ],
)
def test_an_edit_reaches(old: str, new: str, models: set[str] | None) -> None:
    after = TEXT.replace(old, new)
    assert after != TEXT
    assert reached(tomllib.loads(TEXT), tomllib.loads(after)) == models


def test_who_extends_what_a_variable_names_is_not_known() -> None:
    text = TEXT.replace('extends = "b"', 'extends = "${who}"')
    assert reached(tomllib.loads(text), tomllib.loads(text)) == set()
    assert reached(tomllib.loads(text), tomllib.loads(text.replace("seed = 1,", "seed = 2,"))) is None
