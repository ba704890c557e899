"""Every further name of a class: llama.cpp's converter reads it as the same. UPDATE_GOLDEN=1 records what it makes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests import names, recipes, zoo
from tests.steps import test_names
from tests.steps.test_zoo import RECORDED_WITH

from .peers import Peers, same


@pytest.mark.peer
@pytest.mark.parametrize("name", names.cases())
def test_name_is_read_as_llama_cpp_reads_it(name: str, peers: Peers, tmp_path: Path) -> None:
    case = names.cases()[name]
    folder = zoo.write(tmp_path / "model", case)
    leaves = recipes.Folder(folder).leaves()
    for outtype in ("q8_0", test_names.OUTTYPE):
        theirs = peers.convert(folder, outtype, case.pre)
        same(recipes.file_of(recipes.converted(folder, outtype, case.pre), leaves), theirs, tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        keep(name, hashlib.sha256(theirs).hexdigest())


def keep(name: str, digest: str) -> None:
    path = test_names.GOLDEN
    found = {**(json.loads(path.read_text()) if path.is_file() else {}), name: digest}
    ordered = {"recorded with": RECORDED_WITH, **{each: found[each] for each in names.cases() if each in found}}
    path.write_text(json.dumps(ordered, indent=1) + "\n")
