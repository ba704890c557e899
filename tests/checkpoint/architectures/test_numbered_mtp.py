"""Blocks for the prediction of several tokens that are numbered behind the model's own: kept, dropped, alone, absent, too many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.checkpoint.parts import draft
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASES = {
    "glm4moe": zoo.cases("glm4_moe")["norms of heads, biases"],
    "deepseek2": zoo.cases("glm4_moe_lite")["a block for further tokens"],
    "glm-dsa": zoo.cases("glm_dsa")["a block for further tokens"],
}
BEHIND = "model.layers.2."
KEY = "num_nextn_predict_layers"


def made(folder: Path, case: zoo.Case, mtp: str = "keep", **config: Any) -> Recipe:
    case = replace(case, config=changed(case.config, config))
    return recipes.converted(zoo.write(folder / "m", case), pre=case.pre, mtp=mtp)


def value(recipe: Recipe, name: str, key: str) -> Any:
    data = recipe.metadata.get(f"{name}.{key}")
    return None if data is None else decode_value(data)


def without(case: zoo.Case, part: str) -> zoo.Case:
    return replace(case, shapes={name: shape for name, shape in case.shapes.items() if part not in name})


@pytest.mark.parametrize("name", CASES)
def test_both_files_together_have_what_the_whole_has(name: str, tmp_path: Path) -> None:
    whole, model, alone = (made(tmp_path / mode, CASES[name], mode) for mode in ("keep", "drop", "only"))
    names = [{entry.name for entry in each.tensors} for each in (whole, model, alone)]
    assert names[1] | names[2] == names[0]
    assert names[1] & names[2] == {"token_embd.weight", "output_norm.weight", "output.weight"}
    assert all(each.startswith("blk.2.") for each in names[2] - names[1])
    assert [value(each, name, "block_count") for each in (whole, model, alone)] == [3, 2, 3]
    assert [value(each, name, "nextn_predict_layers") for each in (whole, model, alone)] == [1, None, 1]


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_without_them_is_made_without_them_whatever_config_json_declares(
    name: str, tmp_path: Path
) -> None:
    case = without(CASES[name], BEHIND)
    recipe = made(tmp_path, case)
    assert value(recipe, name, "block_count") == 2 and value(recipe, name, "nextn_predict_layers") is None
    assert not draft.is_given(case.config, list(case.shapes))
    warning = draft.lacking(case.config)
    assert warning is not None and KEY in warning.what
    with pytest.raises(Error, match="has no blocks for the prediction of several tokens"):
        made(tmp_path / "only", case, "only")


def test_they_are_told_by_what_joins_them_where_config_json_does_not_count_them(tmp_path: Path) -> None:
    case = CASES["glm4moe"]
    for number, count in enumerate((..., 0)):
        recipe = made(tmp_path / str(number), case, **{KEY: count})
        assert value(recipe, "glm4moe", "nextn_predict_layers") == 1
    config = changed(case.config, {KEY: ...})
    assert draft.is_given(case.config, list(case.shapes)) and draft.is_given(config, list(case.shapes))
    with pytest.raises(Error, match="cannot be mapped"):
        made(tmp_path / "none", without(case, "eh_proj"), **{KEY: ...})


@pytest.mark.parametrize("declared", [2, 0])
def test_two_of_them_are_refused(declared: int, tmp_path: Path) -> None:
    case = CASES["glm4moe"]
    more = {name.replace(".2.", ".3."): shape for name, shape in case.shapes.items() if name.startswith(BEHIND)}
    case = replace(case, shapes={**case.shapes, **more})
    with pytest.raises(Error, match="has 2 blocks for the prediction") as found:
        made(tmp_path, case, **{KEY: declared})
    assert 'mtp = "drop"' in str(found.value)
    assert value(made(tmp_path / "drop", case, "drop", **{KEY: declared}), "glm4moe", "block_count") == 2


@pytest.mark.parametrize("lacking", ["enorm.weight", "mlp.experts.1.up_proj.weight"])
def test_what_they_lack_is_no_fault_of_the_model(lacking: str, tmp_path: Path) -> None:
    case = without(CASES["deepseek2"], f"{BEHIND}{lacking}")
    folder = recipes.Folder(zoo.write(tmp_path / "m", case))
    (error,) = Conversion(folder, folder="m", outtype="auto", pre=case.pre).faults()
    assert "lacks" in error.what
    assert not Conversion(folder, folder="m", outtype="auto", pre=case.pre, mtp="drop").faults()


@pytest.mark.parametrize("number", [19, 99999999])
def test_a_number_far_behind_is_an_error(number: int, tmp_path: Path) -> None:
    case = CASES["glm4moe"]
    shapes = {**case.shapes, f"model.layers.{number}.eh_proj.weight": (64, 128)}
    with pytest.raises(Error, match="at most 16 blocks behind its 2 own"):
        made(tmp_path, replace(case, shapes=shapes), **{KEY: 0})
    assert not draft.is_given({}, list(shapes))
