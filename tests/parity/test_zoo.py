"""Every checkpoint of the zoo: our file is llama.cpp's. UPDATE_GOLDEN=1 records what was made of those that are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests import recipes, zoo
from tests.steps import test_zoo

from .peers import Peers, same


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), test_zoo.CASES)
def test_checkpoint_becomes_llama_cpps_file(model_type: str, name: str, peers: Peers, tmp_path: Path) -> None:
    case = zoo.cases(model_type)[name]
    folder = zoo.write(tmp_path / "model", case)
    leaves = recipes.Folder(folder).leaves()
    theirs = {}
    for outtype in zoo.OUTTYPES:
        recipe = recipes.converted(folder, outtype, case.pre, case.mtp)
        theirs[outtype] = tmp_path / f"{outtype}.gguf"
        theirs[outtype].write_bytes(peers.convert(folder, outtype, case.pre, case.options))
        same(recipes.file_of(recipe, leaves), theirs[outtype].read_bytes(), tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        keep(model_type, name, theirs)


def keep(model_type: str, name: str, files: dict[str, Path]) -> None:
    path = test_zoo.GOLDEN / f"{model_type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {**(json.loads(path.read_text()) if path.is_file() else {}), name: test_zoo.record(files)}
    ordered: dict[str, object] = {"recorded with": test_zoo.RECORDED_WITH}
    ordered |= {case: found[case] for case in zoo.cases(model_type) if case in found}
    path.write_text(test_zoo.spelled(ordered) + "\n")
