"""ModernBERT: windows, what a pre-training leaves, and what the runtime asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from tests import recipes, zoo

from .encoders import changed, faults, metadata

CLS = zoo.cases("modernbert")["cls"]
MASKED = zoo.cases("modernbert")["a pre-training's heads"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "modernbert", "rope_theta": 5.0})
    assert (full["global_rope_theta"], full["local_rope_theta"], full["local_attention"]) == (160000.0, 10000.0, 128)


def test_windows(tmp_path: Path) -> None:
    found = metadata(tmp_path, CLS)
    assert found["modern-bert.attention.sliding_window"] == 16
    assert found["modern-bert.attention.sliding_window_pattern"] == 3
    assert (found["modern-bert.rope.freq_base"], found["modern-bert.rope.freq_base_swa"]) == (160000.0, 10000.0)
    assert (found["modern-bert.rope.scaling.type"], found["modern-bert.hidden_activation"]) == ("none", "gelu")


def test_the_epsilon_has_the_name_of_the_class(tmp_path: Path) -> None:
    config = {key: value for key, value in CLS.config.items() if key != "layer_norm_eps"}
    both = zoo.write(tmp_path / "both/m", replace(CLS, config={**CLS.config, "norm_eps": 0.25, "layer_norm_eps": 0.25}))
    own = zoo.write(tmp_path / "own/m", replace(CLS, config={**config, "norm_eps": 0.25}))
    assert recipes.converted(own, pre=CLS.pre).encode() == recipes.converted(both, pre=CLS.pre).encode()
    del config["norm_eps"]
    found = metadata(tmp_path, replace(CLS, config=config))
    assert found["modern-bert.attention.layer_norm_epsilon"] == pytest.approx(1e-5)


def test_the_decoder_of_a_pre_training_goes(tmp_path: Path) -> None:
    more = {"decoder.bias": (288,), "decoder.weight": (288, 64)}
    folder = zoo.write(tmp_path / "a", replace(MASKED, shapes={**MASKED.shapes, **more}))
    plain = recipes.converted(zoo.write(tmp_path / "b", MASKED), pre=MASKED.pre)
    assert [entry.name for entry in recipes.converted(folder, pre=MASKED.pre).tensors] == [
        entry.name for entry in plain.tensors
    ]


def test_only_the_first_block_has_no_norm_before_attention(tmp_path: Path) -> None:
    assert faults(tmp_path / "a", CLS) == ""
    shapes = {name: shape for name, shape in CLS.shapes.items() if name != "layers.2.attn_norm.weight"}
    assert "layers.2.attn_norm.weight" in faults(tmp_path / "b", replace(CLS, shapes=shapes))


def test_biases_are_refused(tmp_path: Path) -> None:
    found = faults(
        tmp_path, replace(CLS, shapes={**CLS.shapes, **{f"layers.{n}.attn.Wo.bias": (64,) for n in range(4)}})
    )
    assert "4 biases that llama.cpp's runtime does not read" in found


def test_the_runtime_asks_for_an_epsilon_under_its_other_name(tmp_path: Path) -> None:
    assert "'layer_norm_eps' expects a number above 0" in faults(
        tmp_path, changed(CLS, {"layer_norm_eps": ..., "norm_eps": None})
    )
