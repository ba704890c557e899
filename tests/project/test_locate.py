"""The locator against tomllib: on whatever document, each path is found, and what stands there is its value."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.project import locate
from modelbuild.project.locate import Place
from tests.at_length import examples

SAMPLE = '''\
# a comment with [brackets] and "quotes"
title = "one" # trailing

[project]
name = "acme"
"quoted key" = 'literal'
a . b."c.d" = { x = 1, y.z = [1, { deep = true }] }

[model.chat]
system = """
multi [not.a.table]
key = "not a key" \\""" still inside
"""
when = 1979-05-27 07:32:00
adapters = [
  { path = "./a" }, # first
  { path = "./b", scale = 0.5 },
]
[[model.chat.exclude]]
quantize = "q6_K"
[[model.chat.exclude]]
quantize = "q8_0"
note = { k = "v" }
[model."persona-*"]
literal = \'\'\'it''s # not a comment
\'\'\'
[model."tab\\tin"]
x = -1.5e3
'''


def said(text: str, path: locate.Path, *, value: bool = True) -> str:
    spot = locate.index(text)[path]
    span = spot.value if value else spot.key
    assert span is not None
    return text[span.start : span.end]


@pytest.mark.parametrize(
    ("path", "line", "column", "key"),
    [
        (("title",), 2, 1, "title"),
        (("project",), 4, 2, "project"),
        (("project", "quoted key"), 6, 1, '"quoted key"'),
        (("project", "a"), 7, 1, "a"),
        (("project", "a", "b", "c.d"), 7, 7, '"c.d"'),
        (("project", "a", "b", "c.d", "y", "z"), 7, 26, "z"),
        (("model", "chat", "system"), 10, 1, "system"),
        (("model", "chat", "adapters", 1, "scale"), 17, 19, "scale"),
        (("model", "chat", "exclude", 1, "quantize"), 22, 1, "quantize"),
        (("model", "persona-*", "literal"), 25, 1, "literal"),
        (("model", "tab\tin"), 27, 8, '"tab\\tin"'),
    ],
)
def test_keys_are_placed(path: locate.Path, line: int, column: int, key: str) -> None:
    found = locate.find(SAMPLE, path)
    assert found is not None
    assert (found.line, found.column) == (line, column)
    assert found.source[found.column - 1 :].startswith(key)
    assert found.width == len(key)


def test_values_are_placed() -> None:
    assert said(SAMPLE, ("model", "chat", "adapters", 1, "path")) == '"./b"'
    assert said(SAMPLE, ("model", "chat", "when")) == "1979-05-27 07:32:00"
    assert said(SAMPLE, ("project", "a", "b", "c.d", "y", "z", 1)) == "{ deep = true }"
    assert said(SAMPLE, ("model", "tab\tin", "x")) == "-1.5e3"


def test_the_second_array_table_is_told_from_the_first() -> None:
    first = locate.find(SAMPLE, ("model", "chat", "exclude", 0, "quantize"), value=True)
    second = locate.find(SAMPLE, ("model", "chat", "exclude", 1, "quantize"), value=True)
    assert first is not None and second is not None
    assert (first.line, second.line) == (20, 22)


def test_a_path_that_is_not_there_falls_back_to_its_table() -> None:
    found = locate.find(SAMPLE, ("model", "chat", "from", 3), value=True)
    assert found is not None
    assert found.source == "[model.chat]"
    assert locate.find(SAMPLE, ("nothing",)) is None


def test_a_value_of_several_lines_is_underlined_on_its_first() -> None:
    found = locate.find(SAMPLE, ("model", "chat", "system"), value=True)
    assert found is not None
    assert (found.line, found.column, found.width) == (10, 10, 3)


def paths(value: Any, path: locate.Path = ()) -> list[tuple[locate.Path, Any]]:
    inner: list[tuple[locate.Path, Any]] = [(path, value)] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            inner += paths(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            inner += paths(item, (*path, number))
    return inner


def check_against_tomllib(text: str) -> None:
    document = tomllib.loads(text)
    spots = locate.index(text)
    for path, value in paths(document):
        spot = spots[path]
        if spot.value is not None:
            assert tomllib.loads("v = " + text[spot.value.start : spot.value.end])["v"] == value, path
        else:
            assert isinstance(value, dict | list), path
        if isinstance(path[-1], str):
            assert spot.key is not None
            assert tomllib.loads(text[spot.key.start : spot.key.end] + " = 1") == {path[-1]: 1}
    assert {path for path, _ in paths(document)} == set(spots)


def test_sample_agrees_with_tomllib() -> None:
    check_against_tomllib(SAMPLE)


scalars = (
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.datetimes()
    | st.dates()
    | st.text(alphabet="\"'\\\n#[]{}=,. $", max_size=10)
)
keys = st.text(alphabet="abc-_1", min_size=1, max_size=3) | st.text(max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)
documents = st.dictionaries(keys, values, max_size=5)


@given(documents, st.booleans())
@settings(max_examples=examples(300), deadline=None)
def test_written_documents_agree_with_tomllib(document: dict[str, Any], multiline: bool) -> None:
    check_against_tomllib(tomli_w.dumps(document, multiline_strings=multiline))


PIECES = [
    "[a]\n", "[a.b]\n", "[ a . 'b' . \"c\" ]\n", "[[l]]\n", "[[l.m]]\n", "[l.t]\n", "k = 1\n", 'k."x y".z = 2\n',
    "s = \"\"\"a\n\"q\" \\\"\"\"\" # c\n", "t = '''''' # e\n", "t2 = ''''q''''\n", "u = [ # c\n 1, [2, 3,], {a.b = 1, c = ']'} , ]\n",
    "v = {}\n", "w = []\n", "x = 1979-05-27 07:32:00.5 # d\n", "y = 07:32:00\n", "z = +inf\n", "  q = 0x_f # not\n",
    "# [c] = 1\n", "\n", "'' = 'e'\n", '"\\u00e9" = true\n', "r = 0xFF\t\n", 'i = { "a" = { b = [ { c = 1 }, { c = "}" } ] } }\n',
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@settings(max_examples=examples(600), deadline=None)
def test_hand_written_layouts_agree_with_tomllib(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        locate.index(text)  # lenient: it ends, and raises nothing
        return
    check_against_tomllib(text)


@given(st.text(alphabet="ab=.[]{}\"'\\#,\n \t1", max_size=40))
@settings(max_examples=examples(400), deadline=None)
def test_text_that_is_not_toml_ends_the_scan(text: str) -> None:
    locate.index(text)


def test_a_place_in_the_file_of_a_part_is_recalled(tmp_path: Path) -> None:
    file, text = tmp_path / "teams" / "x" / "ModelBuild.toml", '[model.a]\nfrom = "x"\n'
    file.parent.mkdir(parents=True)
    file.write_text(text)
    spelled = Place("teams/x/ModelBuild.toml", text, ("model", "a", "from")).spelled(str(tmp_path))
    assert str(locate.recalled(spelled)) == "teams/x/ModelBuild.toml:2:1"
    file.unlink()
    assert str(locate.recalled(spelled)) == "teams/x/ModelBuild.toml"
    assert str(locate.recalled(Place("-q q8_0").spelled(str(tmp_path)))) == "-q q8_0"
