"""Checkpoints of classes with several names become the files that llama.cpp's converter made of them when they were recorded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint import architectures
from modelbuild.errors import Error
from tests import names, recipes, zoo

from .test_zoo import RECORDED_WITH

GOLDEN = Path(__file__).parents[1] / "golden/names.json"
OUTTYPE = "auto"


def converted(folder: Path, case: zoo.Case) -> str:
    """The digest of the file."""
    recipe = recipes.converted(folder, OUTTYPE, case.pre)
    return hashlib.sha256(recipes.file_of(recipe, recipes.Folder(folder).leaves())).hexdigest()


@pytest.mark.parametrize("name", names.cases())
def test_checkpoint_becomes_the_recorded_file(name: str, tmp_path: Path) -> None:
    case = names.cases()[name]
    assert converted(zoo.write(tmp_path / "model", case), case) == json.loads(GOLDEN.read_text())[name]


def test_every_further_name_has_a_checkpoint() -> None:
    aliases = {name for kind in architectures.known() for name in vars(kind).get("ALIASES", ())}
    assert aliases == set(names.cases())
    assert list(json.loads(GOLDEN.read_text())) == ["recorded with", *names.cases()]
    assert json.loads(GOLDEN.read_text())["recorded with"] == RECORDED_WITH


@pytest.mark.parametrize("name", ["Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"])
def test_the_text_model_of_a_known_class_needs_no_class_of_its_own(name: str, tmp_path: Path) -> None:
    case = names.cases()[name]
    text = {key: value for key, value in case.config["text_config"].items() if key != "architectures"}
    bare = zoo.write(tmp_path / "a/model", replace(case, config={**case.config, "text_config": text}))
    named = recipes.converted(zoo.write(tmp_path / "b/model", case))
    assert recipes.converted(bare).encode() == named.encode()


@pytest.mark.parametrize("config", [{"architectures": ["MyTunedLlama"]}, {"architectures": None}])
def test_a_checkpoint_is_read_as_the_class_that_is_named(config: dict[str, object], tmp_path: Path) -> None:
    case = zoo.cases("llama")["bf16"]
    plain = recipes.converted(zoo.write(tmp_path / "a/model", case))
    folder = zoo.write(tmp_path / "b/model", replace(case, config={**case.config, **config}))
    assert recipes.converted(folder, architecture="LlamaForCausalLM").encode() == plain.encode()
    assert recipes.converted(folder, architecture="LlamaModel").encode() == plain.encode()
    with pytest.raises(Error):
        recipes.converted(folder)
