"""Files that a project names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.errors import Error, Problems
from modelbuild.observed import Observed
from modelbuild.project.locate import Place
from modelbuild.project.texts import Texts
from tests.projects import FROM, load, write

PLACE = Place("ModelBuild.toml")


def test_no_file_is_read_twice(tmp_path: Path) -> None:
    class Counting(Observed):
        def __init__(self) -> None:
            super().__init__()
            self.counts: dict[str, int] = {}

        def read(self, path: str) -> bytes:
            self.counts[os.path.relpath(path, tmp_path)] = self.counts.get(os.path.relpath(path, tmp_path), 0) + 1
            return super().read(path)

    observed = Counting()
    toml = (
        '[project]\nmodelfiles = ["a/Modelfile"]\n[defaults]\nlicense = { file = "L" }\n'
        '[model.b]\nextends = "a"\nmatrix.quantize = ["q8_0", "f16"]\n[model.c]\nmodelfile = "c/Modelfile"\n'
        '[model.d]\nmodelfile = "c/../c/Modelfile"\n'
    )
    load(tmp_path, toml, {"L": "MIT", "a/Modelfile": FROM, "c/Modelfile": FROM}, observed=observed)
    assert observed.counts == {"ModelBuild.toml": 1, "L": 1, "a/Modelfile": 1, "c/Modelfile": 1}


def test_paths_are_shown_relative_to_the_project(tmp_path: Path) -> None:
    texts = Texts(str(tmp_path / "a"), Observed(), Problems())
    shown = [texts.shown(str(tmp_path / path)) for path in ("a/b/c", "ab/c", "c")]
    assert shown == ["b/c", "../ab/c", "../c"]


def test_a_path_starts_from_the_folder_of_the_file_that_says_it() -> None:
    texts = Texts("/p", Observed(), Problems())
    said = [Place("ModelBuild.toml", "x"), Place("teams/x/ModelBuild.toml", "x"), Place("--set a.from=b/c")]
    assert [texts.folder(place) for place in said] == ["/p", "/p/teams/x", "/p"]


def test_a_modelfile_that_is_wrong_is_said_once(tmp_path: Path) -> None:
    write(tmp_path, {"Modelfile": "FORM x\n", "good": FROM})
    problems = Problems()
    texts = Texts(str(tmp_path), Observed(), problems)
    wrong, good = str(tmp_path / "Modelfile"), str(tmp_path / "good")
    assert not texts.has_parsed(wrong)
    assert texts.modelfile(wrong, PLACE) is texts.modelfile(wrong, PLACE) is None
    assert texts.has_parsed(wrong)
    assert texts.modelfile(good, PLACE) is not None
    assert [error.path for error in texts.faults(wrong)] == ["Modelfile"]
    assert not texts.faults(good) and not problems


def test_a_file_that_cannot_be_read_is_an_error_each_time(tmp_path: Path) -> None:
    write(tmp_path, {"binary": b"\xff", "folder/": ""})
    texts = Texts(str(tmp_path), Observed(), Problems())
    for name, what in (("none", "no file"), ("folder", "is a folder"), ("binary", "is not UTF-8")):
        for _ in range(2):
            with pytest.raises(Error, match=what):
                texts.text(str(tmp_path / name), PLACE)
