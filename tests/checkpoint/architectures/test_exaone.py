"""EXAONE 3.5: the epsilon, which released models call by another name than the runtime does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASE = zoo.cases("exaone")["scaled rotations"]
KEYS = ("exaone.attention.layer_norm_rms_epsilon", "exaone.attention.layer_norm_epsilon")


def conversion(folder: Path, **changes: object) -> Conversion:
    case = replace(CASE, config=changed(CASE.config, changes))
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="m", outtype="f16", pre=case.pre)


def test_epsilon_of_released_models_has_both_names(tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", rms_norm_eps=..., layer_norm_epsilon=1e-3)
    assert found.faults() == []
    assert [decode_value(found.recipe.metadata[key]) for key in KEYS] == [pytest.approx(1e-3)] * 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"activation_function": "gelu"}, "'activation_function' expects 'silu', got the text \"gelu\""),
        ({"rms_norm_eps": ..., "layer_norm_epsilon": ...}, "'layer_norm_epsilon' expects a number above 0"),
    ],
)
def test_what_the_runtime_does_not_know(changes: dict[str, object], what: str, tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", **changes).faults()
    assert any(what in error.what for error in found), [error.what for error in found]


def test_activation_of_transformers_5(tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", activation_function=..., hidden_act="silu")
    assert found.recipe.metadata == conversion(tmp_path / "old").recipe.metadata
    with pytest.raises(Error):
        _ = conversion(tmp_path / "none", activation_function=...).recipe
