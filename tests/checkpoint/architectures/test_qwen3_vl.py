"""Qwen3-VL: what transformers fills in, and how many blocks of the tower the text model takes in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

TIED = zoo.cases("qwen3_vl")["tied"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "qwen3_vl"})
    wanted = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "head_dim": 128,
        "max_position_embeddings": 128000,
        "rope_theta": 5e6,
    }
    assert {key: full["text_config"].get(key, full.get(key)) for key in wanted} == wanted
    assert full["vision_config"]["deepstack_visual_indexes"] == [8, 16, 24]


def stacked(folder: Path, **vision: Any) -> object:
    config = {**TIED.config, "vision_config": {**TIED.config["vision_config"], **vision}}
    recipe = recipes.converted(zoo.write(folder, replace(TIED, config=config)), pre=TIED.pre)
    return decode_value(recipe.metadata["qwen3vl.n_deepstack_layers"])


def test_blocks_of_the_tower(tmp_path: Path) -> None:
    assert stacked(tmp_path / "a") == 2
    assert stacked(tmp_path / "b", deepstack_visual_indexes=[]) == 0
    with pytest.raises(Error, match="expects fewer entries than the model has blocks, 4, got 4"):
        stacked(tmp_path / "c", deepstack_visual_indexes=[0, 1, 2, 3])
    with pytest.raises(Error, match="'deepstack_visual_indexes' of 'vision_config' expects a list, got the number 3"):
        stacked(tmp_path / "d", deepstack_visual_indexes=3)


def test_a_tower_that_is_none(tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(TIED, config={**TIED.config, "vision_config": 1}))
    with pytest.raises(Error, match="'vision_config' expects an object, got the number 1"):
        recipes.converted(folder, pre=TIED.pre)


def test_embedding_is_the_output_where_the_text_part_says_so(tmp_path: Path) -> None:
    case = zoo.cases("qwen3_vl")["reranker"]
    text = {key: value for key, value in case.config["text_config"].items() if key != "tie_word_embeddings"}
    folder = zoo.write(tmp_path / "m", replace(case, config={**case.config, "text_config": text}))
    with pytest.raises(Error, match="the checkpoint of a reranker lacks 'lm_head'"):
        recipes.converted(folder, pre=case.pre)
