"""Blocks for the prediction of several tokens: kept, dropped, alone, and what a checkpoint may say of them that is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import architectures, classes
from modelbuild.checkpoint.architectures._mtp import Idle, Mtp
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import recipes, zoo

TEXT = zoo.cases("qwen3_5")["text"]
NEXT = zoo.cases("qwen3_next")["blocks for further tokens"]
WITHOUT = zoo.cases("qwen3_5")["two blocks, as many heads of values as of keys, tied, f32"]


def made(folder: Path, case: zoo.Case, mtp: str = "keep", **config: Any) -> Recipe:
    case = replace(case, config={**case.config, **config})
    return recipes.converted(zoo.write(folder / "m", case), pre=case.pre, mtp=mtp)


def names(recipe: Recipe) -> set[str]:
    return {entry.name for entry in recipe.tensors}


def value(recipe: Recipe, key: str) -> Any:
    data = recipe.metadata.get(f"qwen35.{key}")
    return None if data is None else decode_value(data)


def test_both_files_together_have_what_the_whole_has(tmp_path: Path) -> None:
    whole, model, draft = (made(tmp_path / mode, TEXT, mode) for mode in ("keep", "drop", "only"))
    assert names(model) | names(draft) == names(whole)
    assert names(model) & names(draft) == {"token_embd.weight", "output_norm.weight", "output.weight"}
    assert all(name.startswith("blk.4.") for name in names(draft) - names(model))
    assert [value(each, "block_count") for each in (whole, model, draft)] == [5, 4, 5]
    assert [value(each, "nextn_predict_layers") for each in (whole, model, draft)] == [1, None, 1]
    shared = {entry.name: entry.expression for entry in model.tensors}
    assert all(entry.expression == shared[entry.name] for entry in draft.tensors if entry.name in shared)


def test_a_checkpoint_without_them_is_made_without_them_whatever_config_json_declares(tmp_path: Path) -> None:
    """llama.cpp's converter makes a file that its runtime does not load."""
    assert WITHOUT.config["mtp_num_hidden_layers"] == 1
    kept, dropped = (made(tmp_path / mode, WITHOUT, mode) for mode in ("keep", "drop"))
    assert kept.encode() == dropped.encode()
    assert value(kept, "block_count") == 2


def test_alone_where_there_are_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Error, match="has no blocks for the prediction of several tokens"):
        made(tmp_path, WITHOUT, "only")


def test_they_are_counted_where_config_json_does_not_say(tmp_path: Path) -> None:
    recipe = made(tmp_path, NEXT)
    assert decode_value(recipe.metadata["qwen3next.nextn_predict_layers"]) == 1
    assert decode_value(recipe.metadata["qwen3next.attention.recurrent_layers"]) == [True, False, True, False, False]


@pytest.mark.parametrize("lacking", ["mtp.fc.weight", "mtp.layers.0.mlp.up_proj.weight"])
def test_what_they_lack_is_no_fault_of_the_model(tmp_path: Path, lacking: str) -> None:
    case = replace(TEXT, shapes={name: shape for name, shape in TEXT.shapes.items() if name != lacking})
    folder = recipes.Folder(zoo.write(tmp_path / "m", case))
    (error,) = Conversion(folder, folder="m", outtype="auto", pre=case.pre).faults()
    assert "lacks 1 tensor" in error.what and 'mtp = "drop"' in str(error)
    assert not Conversion(folder, folder="m", outtype="auto", pre=case.pre, mtp="drop").faults()


def test_names_of_old(tmp_path: Path) -> None:
    shapes = {f"model.{name}" if name.startswith("mtp.") else name: shape for name, shape in TEXT.shapes.items()}
    assert names(made(tmp_path, replace(TEXT, shapes=shapes))) == names(made(tmp_path / "now", TEXT))


@pytest.mark.parametrize("mtp", ["keep", "only"])
@pytest.mark.parametrize("declared", [2, 0])
def test_two_of_them_are_refused_since_the_runtime_looks_for_what_joins_them_in_each(
    tmp_path: Path, declared: int, mtp: str
) -> None:
    more = {
        name.replace(".0.", ".1."): shape for name, shape in TEXT.shapes.items() if name.startswith("mtp.layers.0.")
    }
    case = replace(TEXT, shapes={**TEXT.shapes, **more})
    with pytest.raises(Error, match="has 2 blocks for the prediction") as found:
        made(tmp_path, case, mtp, mtp_num_hidden_layers=declared)
    assert 'mtp = "drop"' in str(found.value)
    dropped = made(tmp_path / "drop", case, "drop", mtp_num_hidden_layers=declared)
    assert value(dropped, "block_count") == 4


@pytest.mark.parametrize("count", [-1, "one", 17, 1.0, True])
def test_a_count_that_can_be_none_is_an_error(tmp_path: Path, count: Any) -> None:
    with pytest.raises(Error, match="'mtp_num_hidden_layers' expects a whole number from 0 to 16"):
        made(tmp_path, TEXT, mtp_num_hidden_layers=count)


@pytest.mark.parametrize(
    "name", ["mtp.layers.99999999.mlp.up_proj.weight", "mtp.layers.x.mlp.up_proj.weight", "mtp.head.weight"]
)
def test_a_tensor_that_is_none_of_theirs_is_an_error(tmp_path: Path, name: str) -> None:
    case = replace(TEXT, shapes={**TEXT.shapes, name: (96, 64)})
    with pytest.raises(Error, match="cannot be mapped|blocks 0 to 15"):
        made(tmp_path, case, mtp_num_hidden_layers=0)


def test_a_file_says_that_it_has_them_if_its_class_does() -> None:
    # What the runtime leaves alone is no draft: `mtp` decides nothing of it.
    splits = {each for each in architectures.known() if issubclass(each, Mtp) and not issubclass(each, Idle)}
    assert classes.with_mtp() == {name for each in splits for name in each.CLASSES}
    assert all(each.MTP is (each in splits) for each in architectures.known())
