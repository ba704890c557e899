"""Qwen2-VL: configurations in one part and in two, and the sections that the runtime asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo

TIED = zoo.cases("qwen2_vl")["2, tied"]


@pytest.mark.parametrize("model_type", ["qwen2_vl", "qwen2_5_vl"])
def test_keys_of_the_text_model_may_stand_beside_the_others(model_type: str) -> None:
    wanted = {"rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_key_value_heads": 8, "hidden_size": 64}
    for config in ({"hidden_size": 64}, {"text_config": {"hidden_size": 64, "model_type": "another"}}):
        full = complete({"model_type": model_type, **config})
        assert {key: full[key] for key in wanted} == wanted
        assert full["model_type"] == f"{model_type}_text"


def test_sections_are_no_kind_of_scaling() -> None:
    full = complete({"model_type": "qwen2_vl", "rope_scaling": {"type": "mrope", "mrope_section": [1, 2, 3]}})
    assert full["rope_scaling"] == {"type": "default", "rope_type": "default", "mrope_section": [1, 2, 3]}


@pytest.mark.parametrize("sections", [None, [], [1] * 5, [1, "2"], [True, 1], "1"])
def test_sections_that_the_runtime_would_not_take(tmp_path: Path, sections: Any) -> None:
    config = {**TIED.config, "rope_scaling": {"type": "mrope", "mrope_section": sections}}
    folder = zoo.write(tmp_path / "m", replace(TIED, config=config))
    with pytest.raises(Error, match="'mrope_section' of the rotary embedding expects up to four numbers"):
        recipes.converted(folder, pre=TIED.pre)


def test_a_text_part_that_is_none(tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", TIED)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "text_config": [1]}))
    with pytest.raises(Error, match="'text_config' expects an object"):
        recipes.converted(folder, pre=TIED.pre)
