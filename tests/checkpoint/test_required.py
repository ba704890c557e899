"""Hyper-parameters that the runtime asks for, and at whose values it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from tests import checkpoints, recipes, zoo
from tests.checkpoint.test_structure import case, faults


def changed(folder: Path, model_type: str, **changes: Any) -> list[str]:
    """What is wrong with the first case of a kind that has another configuration; in its text part, where it has one."""
    found = next(iter(zoo.cases(model_type).values()))
    part = found.config.get("text_config")
    config = {**found.config, **changes} if part is None else {**found.config, "text_config": {**part, **changes}}
    return [error.what for error in faults(zoo.write(folder, replace(found, config=config)), found.pre)]


def test_what_the_runtime_asks_of_the_configuration_must_be_there(tmp_path: Path) -> None:
    found = case(tmp_path / "m", "olmo2", "scaling that transformers refuses")
    assert [error.what for error in found] == [
        f"'{key}' expects a number above 0, which is missing" for key in ("max_position_embeddings", "rms_norm_eps")
    ]


@pytest.mark.parametrize(("experts", "used"), [(4, 5), (4, 0), (0, 2), (2000, 2)])
def test_experts_are_as_many_as_the_runtime_takes(experts: int, used: int, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m", num_local_experts=experts, num_experts_per_tok=used)
    (error,) = faults(folder)
    assert error.path == "config.json"
    assert ("num_experts_per_tok" in error.what) == (experts < 2000)


@pytest.mark.parametrize("model_type", ["qwen2_vl", "qwen3_vl", "qwen3_5", "gemma3", "llama"])
def test_a_feed_forward_without_a_size_is_an_error(model_type: str, tmp_path: Path) -> None:
    """The runtime takes it for none at all, and does not load the file."""
    assert changed(tmp_path / "m", model_type, intermediate_size=None) == [
        "'intermediate_size' expects a number above 0, got null"
    ]


@pytest.mark.parametrize("model_type", ["qwen3_next", "llama", "mistral3"])
def test_an_epsilon_below_zero_is_an_error(model_type: str, tmp_path: Path) -> None:
    """ggml ends the process at the first norm."""
    assert changed(tmp_path / "m", model_type, rms_norm_eps=-0.5) == [
        "'rms_norm_eps' expects a number above 0, got the number -0.5"
    ]


def test_a_shared_expert_of_no_size_has_no_tensors(tmp_path: Path) -> None:
    (found,) = changed(tmp_path / "m", "qwen3_next", shared_expert_intermediate_size=False)
    assert "not have the shape that config.json declares" in found


@pytest.mark.parametrize("sections", [None, False, True, 1e30, [], float("nan")])
@pytest.mark.parametrize("model_type", ["qwen3_5", "qwen3_5_moe"])
def test_sections_of_the_rotary_embedding_are_numbers(model_type: str, sections: Any, tmp_path: Path) -> None:
    found = next(iter(zoo.cases(model_type).values()))
    rope = {**found.config["rope_parameters"], "mrope_section": sections}
    folder = zoo.write(tmp_path / "m", replace(found, config={**found.config, "rope_parameters": rope}))
    with pytest.raises(Error, match="'mrope_section' of the rotary embedding expects up to four numbers"):
        recipes.converted(folder, pre=found.pre)
