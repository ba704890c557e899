"""The step that merges an adapter sees the recipe of its model and the adapter's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.steps import merge
from modelbuild.tensors.recipe import Recipe

from .test_adapt import inputs


def test_it_leaves_the_metadata(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    before, after = Recipe.decode(given.artifact("recipe")), Recipe.decode(merge.run({"scale": 1.0}, given))
    assert list(before.metadata.items()) == list(after.metadata.items())
    assert [entry.name for entry in before.tensors] == [entry.name for entry in after.tensors]


def test_what_is_wrong_stands_in_an_input(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught:
        merge.run({"scale": 1.0}, inputs(tmp_path, r=0))
    assert (caught.value.path, caught.value.input) == (None, "adapter_config.json")
