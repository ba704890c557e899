"""EXAONE 4: which blocks have a window, in all the forms that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.exaone4 import CONFIG, shapes
from tests.zoo.mistral import changed

CASE = zoo.cases("exaone4")["untied"]
FULL, WINDOW = "full_attention", "sliding_attention"
EIGHT = changed(CONFIG, {"num_hidden_layers": 8, "layer_types": ..., "sliding_window": 64})


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "exaone4", "num_hidden_layers": 5})
    assert full["layer_types"] == [WINDOW, WINDOW, WINDOW, FULL, WINDOW]
    wanted = {"sliding_window": 4096, "num_key_value_heads": 32, "max_position_embeddings": 2048}
    assert {key: full[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    "config",
    [
        {"sliding_window": None},
        {"sliding_window_pattern": "LLLG"},
        {"sliding_window_pattern": 0},
        {"layer_types": [FULL]},
        {"layer_types": ["another"] * 2},
    ],
)
def test_transformers_refuses(config: Mapping[str, Any]) -> None:
    assert "vocab_size" not in complete({"model_type": "exaone4", "num_hidden_layers": 2, **config})


def conversion(folder: Path, changes: Mapping[str, Any]) -> Conversion:
    config = changed(EIGHT, changes)
    case = replace(CASE, config=config, shapes=shapes(config))
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="m", outtype="f16", pre=case.pre)


@pytest.mark.parametrize(
    ("changes", "windowed"),
    [
        ({}, [True, True, True, False] * 2),
        ({"sliding_window_pattern": 3}, [True, True, False, True, True, False, True, True]),
        ({"sliding_window_pattern": "LG"}, [True, False] * 4),
        ({"layer_types": [WINDOW] * 7 + [FULL]}, [True] * 7 + [False]),
        ({"model_type": "unheard-of"}, None),
    ],
)
def test_windows(changes: Mapping[str, Any], windowed: list[bool] | None, tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", changes)
    data = found.recipe.metadata.get("exaone4.attention.sliding_window_pattern")
    assert (data and decode_value(data)) == windowed
    doubts = [error.what for error in found.warnings() if "a window only where there are 64" in error.what]
    assert len(doubts) == (windowed is not None)


def test_layer_types_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(Error, match="'layer_types' expects a list with one text for each of 8 blocks, got a list of 2"):
        _ = conversion(tmp_path / "m", {"layer_types": [FULL, WINDOW]}).recipe


def test_scaled_rotations_are_written(tmp_path: Path) -> None:
    case = zoo.cases("exaone4")["llama3 scaling, tied, f32"]
    recipe = recipes.converted(zoo.write(tmp_path / "m", case), "f16", case.pre)
    assert recipe.tensors[0].name == "rope_freqs.weight"
