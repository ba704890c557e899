"""A project that is loaded: which variants it has, and what may be asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.project.locate import Place
from modelbuild.project.project import is_shared
from tests.projects import labels, load


def test_targets_name_variants_in_the_projects_order(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[model.b]\nfrom = "x"\n[model.a]\nfrom = "b"\n[group]\nall = ["a", "b"]\n')
    assert labels(loaded) == labels(loaded, "a", "b") == labels(loaded, "all") == ["b", "a"]
    assert loaded.variants == loaded.targets.called
    assert [each.label for each in loaded.candidates("b")] == ["b"]
    assert loaded.misspelled("al") == "did you mean 'all'?"


@pytest.mark.parametrize(
    ("key", "expected"),
    [(("defaults", "pre"), True), (("model", "a*", "pre"), True), (("model", "a", "pre"), False), ((), False)],
)
def test_what_defaults_and_globs_say_is_shared(key: tuple[str, ...], expected: bool) -> None:
    assert is_shared(Place("ModelBuild.toml", "x").at(*key)) == expected
