"""Every checkpoint of the zoo of towers becomes the projector that llama.cpp's converter made of it when it was recorded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import classes, clip, parts, shards
from modelbuild.steps import convert
from modelbuild.tensors.recipe import Recipe
from tests import recipes, towers, zoo
from tests.steps.test_zoo import RECORDED_WITH, record

GOLDEN = Path(__file__).parents[1] / "golden/towers"
CASES = [(kind, name) for kind in towers.kinds() for name in towers.cases(kind)]


class Folder(recipes.Folder):
    """A checkpoint folder as the inputs of a projector's conversion."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sources = list(parts.get("projector").FILES)


def projector(folder: Path, outtype: str = "auto") -> bytes:
    """The file of a checkpoint's projector."""
    inputs = Folder(folder)
    made = convert.run({"folder": folder.name, "outtype": outtype, "part": "projector"}, inputs)
    return recipes.file_of(Recipe.decode(made), inputs.leaves())


def golden(kind: str) -> dict[str, Any]:
    found = json.loads((GOLDEN / f"{kind}.json").read_text())
    assert isinstance(found, dict)
    return found


def check(kind: str, name: str, scratch: Path, outtypes: Sequence[str]) -> None:
    folder, expected = zoo.write(scratch / "model", towers.cases(kind)[name]), golden(kind)[name]
    files = {each: scratch / f"{each}.gguf" for each in zoo.OUTTYPES}
    for each in outtypes:
        files[each].write_bytes(projector(folder, each))
    if all(hashlib.sha256(files[each].read_bytes()).hexdigest() == expected["files"][each] for each in outtypes):
        return
    for each, path in files.items():
        path.write_bytes(projector(folder, each))
    found = record(files)
    for part in ("metadata", "tensors", "files"):
        assert list(found[part]) == list(expected[part])
        for key in found[part]:
            assert found[part][key] == expected[part][key], key


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_towers_become_the_recorded_file(kind: str, name: str, tmp_path: Path) -> None:
    check(kind, name, tmp_path, ("auto", "q8_0"))


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_towers_become_the_recorded_file_in_every_outtype(kind: str, name: str, tmp_path: Path) -> None:
    check(kind, name, tmp_path, ("f32", "f16", "bf16"))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_look_finds_nothing_wrong(kind: str, name: str, tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "model", towers.cases(kind)[name])
    looked = convert.look({"folder": "model", "outtype": "auto", "part": "projector"}, Folder(folder))
    assert looked.warnings == []
    assert clip.Clip(Folder(folder), folder="model", outtype="auto").warnings() == []


@pytest.mark.parametrize("kind", towers.kinds())
def test_what_is_recorded_is_what_the_zoo_holds(kind: str) -> None:
    assert golden(kind) == {**golden(kind), "recorded with": RECORDED_WITH}
    assert list(golden(kind)) == ["recorded with", *towers.cases(kind)]


def test_every_class_has_a_case() -> None:
    known = set(classes.read(classes.PROJECTORS))
    assert {case.config["architectures"][0] for kind in towers.kinds() for case in towers.cases(kind).values()} == known


def test_the_page_names_every_class_whose_projector_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs/conversion.md").read_text()
    table = page[page.index("## Projectors") :].split("\n## ", 1)[0]
    assert set(re.findall(r"`(\w+ForConditionalGeneration)`", table)) == set(classes.read(classes.PROJECTORS))
    assert shards.IMAGES[0] in table
