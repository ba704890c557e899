"""Keys that change nothing on what a variant stands on: a warning for each that the model itself says."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import render
from modelbuild.observed import Observed
from modelbuild.plan.plan import plan
from tests.plan.test_plan import CHECKPOINT, gguf_file, library
from tests.projects import load


def said(root: Path, toml: str) -> str:
    files = {**CHECKPOINT, **library(root), "x.gguf": gguf_file()}
    warnings = plan(load(root, toml, files), Observed(), [str(root / "models")]).warnings
    return "\n".join(render(each, "warning") for each in warnings)


def test_outtype_is_for_weights_that_are_converted(tmp_path: Path) -> None:
    assert said(tmp_path, '[model.a]\nfrom = "./weights"\nouttype = "f16"\n') == ""
    assert said(tmp_path, '[model.a]\nfrom = "./x.gguf"\nouttype = "source"\n') == ""
    expected = (
        "warning: ModelBuild.toml:3:1: model 'a': 'outtype' has no effect: 'a' is not made from a folder of weights\n"
        "  hint  use 'quantize' for the type of a GGUF file"
    )
    for base in ("./x.gguf", "base"):
        assert said(tmp_path, f'[model.a]\nfrom = "{base}"\nouttype = "f16"\n') == expected
    assert said(tmp_path, '[defaults]\nouttype = "f16"\n[model.a]\nfrom = "base"\n') == ""


@pytest.mark.parametrize(
    ("base", "is_said"),
    [
        ('from = "./x.gguf"\n', False),
        ('from = "./x.gguf"\nquantize = "q8_0"\n', True),
        ('from = "./weights"\n', True),
        ('from = "base"\n', True),
    ],
)
def test_link_is_for_files_that_are_taken_as_they_are(base: str, is_said: bool, tmp_path: Path) -> None:
    found = said(tmp_path, f'[model.a]\n{base}link = "hard"\n')
    assert (
        found.endswith("model 'a': 'link' has no effect: 'a' imports no GGUF file unchanged\n  hint  remove it")
        == is_said
    )
    assert bool(found) == is_said
    assert said(tmp_path, f'[model.a]\n{base}link = "copy"\n') == ""


def test_the_type_of_a_projector_is_for_checkpoints_that_have_one(tmp_path: Path) -> None:
    assert said(tmp_path, '[model.a]\nfrom = "./weights"\nprojector = "q8_0"\n') == (
        "warning: ModelBuild.toml:3:1: model 'a': 'projector' has no effect: "
        "'a' is not made from a checkpoint with images or sounds that modelbuild reads\n"
        "  hint  remove it; a file of this name is './q8_0'"
    )
