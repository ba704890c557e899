"""The values of a row, by themselves: what is said, with its variables, in its own type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Problems
from modelbuild.observed import Observed
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Table, lay
from modelbuild.project.texts import Texts
from modelbuild.project.values import Values

TOP = Place("ModelBuild.toml", "x")


@pytest.fixture
def problems() -> Problems:
    return Problems()


def values(root: Path, problems: Problems, **said: Any) -> Values:
    texts = Texts(str(root), Observed(), problems)
    return Values(lay([Table(said, TOP)]), {"n": 8, "s": "text", "off": False}, texts, problems)


def whats(problems: Problems) -> list[str]:
    return [error.what for error in problems.errors]


def test_a_key_that_is_not_said_has_no_value(tmp_path: Path, problems: Problems) -> None:
    read = values(tmp_path, problems)
    assert (read.string_of("tag"), read.text_of("system"), read.path_of("draft"), read.of("link", str)) == (None,) * 4
    assert read.strings_of("tags") == [] and read.entries_of("parameters") == {}
    assert not problems


def test_variables_are_filled_in_wherever_they_stand(tmp_path: Path, problems: Problems) -> None:
    read = values(tmp_path, problems)
    assert read.filled({"a": ["${n}", "$${n}", {"b": "<${n}>"}], "c": 1}, TOP) == {
        "a": [8, "${n}", {"b": "<8>"}],
        "c": 1,
    }
    assert read.items(["${n}", ["${n}"]], TOP) == [8, ["${n}"]]


def test_what_cannot_be_filled_in_is_said_where_it_stands_and_the_rest_is_read(
    tmp_path: Path, problems: Problems
) -> None:
    read = values(tmp_path, problems, tags=["${n}", "${m}", "x"], tag="${m}")
    assert (read.strings_of("tags"), read.string_of("tag")) == (["8", "", "x"], "")
    assert whats(problems) == ["unknown variable 'm'"] * 2


def test_a_value_is_checked_once_it_is_filled_in(tmp_path: Path, problems: Problems) -> None:
    read = values(tmp_path, problems, link="${n}", tag="x")
    assert read.of("link", lambda value: value + 1) == 9
    assert read.checked("${m}", TOP, lambda value: pytest.fail("is not to be checked")) is None
    assert whats(problems) == ["unknown variable 'm'"]


def test_a_text_may_stand_in_a_file(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "text").write_text("${n} stays", encoding="utf-8")
    read = values(tmp_path, problems, system={"file": "./${s}"}, template="${off}", license={"file": "none"})
    assert (read.text_of("system"), read.text_of("template"), read.text_of("license")) == ("${n} stays", "", "")
    assert whats(problems) == ["no file 'none'"]


def test_a_path_is_relative_to_the_project(tmp_path: Path, problems: Problems) -> None:
    read = values(tmp_path, problems, draft="d/${n}.gguf", imatrix="")
    draft = read.path_of("draft")
    assert draft is not None and (draft.path, draft.text) == (str(tmp_path / "d/8.gguf"), "d/8.gguf")
    assert read.path_of("imatrix") is None
    file = read.file("${n}", TOP, "/folder")
    assert file is not None and file.path == "/folder/${n}"
