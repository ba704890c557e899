"""A planned model's layers, and what is left of its config."""

from __future__ import annotations

from modelbuild.ollama import manifest as media
from modelbuild.plan.layers import Base, LayerStep, without_model


def test_another_model_takes_the_place_of_the_first_and_nothing_else_moves() -> None:
    system, model = LayerStep(media.SYSTEM, "s"), LayerStep(media.MODEL, "old", "base:latest")
    base = Base((system, model), None, None, {}, {}, False)
    assert base.with_model(LayerStep(media.MODEL, "new")) == (system, LayerStep(media.MODEL, "new"))


def test_a_config_without_its_model_keeps_what_the_user_said() -> None:
    assert without_model({"base": "sha256:1", "renderer": "qwen3"}) == {"renderer": "qwen3"}
