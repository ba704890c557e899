"""Every checkpoint of the zoo: our file is llama.cpp's."""

from __future__ import annotations

from pathlib import Path

import pytest

from .. import recipes, zoo
from .peers import Peers, same

CASES = [(model_type, name) for model_type in zoo.model_types() for name in zoo.cases(model_type)]


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), CASES)
def test_checkpoint_becomes_llama_cpps_file(model_type: str, name: str, peers: Peers, tmp_path: Path) -> None:
    case = zoo.cases(model_type)[name]
    folder = zoo.write(tmp_path / "model", case)
    leaves = recipes.Folder(folder).leaves()
    for outtype in zoo.OUTTYPES:
        recipe = recipes.converted(folder, outtype, case.pre)
        same(recipes.file_of(recipe, leaves), peers.convert(folder, outtype, case.pre), tmp_path)
