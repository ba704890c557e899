"""Mistral 3: what is asked of a Ministral's rotations, and which configurations are filled in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo

ALONE = zoo.cases("mistral3")["ministral alone, tied, f32 in shards"]


def test_the_text_part_is_a_mistral_unless_it_says_otherwise() -> None:
    full = complete({"model_type": "mistral3", "text_config": {"hidden_size": 64}})
    assert (full["model_type"], full["rms_norm_eps"], full["num_key_value_heads"]) == ("mistral", 1e-6, 8)
    bare = {"model_type": "mistral3", "text_config": {"model_type": "ministral3", "hidden_size": 64}}
    assert complete(bare) == {**bare, **bare["text_config"]}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_type": "linear", "type": "linear"}, "expects the rope_type 'yarn' with a factor"),
        ({"factor": None}, "expects the rope_type 'yarn' with a factor"),
        ({"mscale_all_dim": None}, "lacks 'mscale_all_dim'"),
        ({"llama_4_scaling_beta": None}, "lacks 'llama_4_scaling_beta'"),
        ({"llama_4_scaling_beta": "x"}, "'llama_4_scaling_beta' expects a number"),
        ({"llama_4_scaling_beta": float("nan")}, "'llama_4_scaling_beta' expects a finite number"),
    ],
)
def test_rotations_of_a_ministral(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    folder = zoo.write(tmp_path / "m", ALONE)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Error, match=said):
        recipes.converted(folder, pre=ALONE.pre)


def test_mistral_4_is_another_model(tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", ALONE)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mistral4"}))
    with pytest.raises(Error, match="Mistral 4 is not supported yet"):
        recipes.converted(folder, pre=ALONE.pre)
