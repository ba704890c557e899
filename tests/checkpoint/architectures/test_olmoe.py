"""OLMoE: what transformers fills in, and shapes of norms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.tensors.formats.gguf import decode_value, encode_value
from tests import recipes, zoo

CASE = zoo.cases("olmoe")["four experts"]


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "olmoe"}),
        {"num_experts": 64, "num_key_value_heads": 16, "intermediate_size": 2048},
    )
    assert {key: full[key] for key in wanted} == wanted


def test_epsilon_is_always_the_same(tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(CASE, config={**CASE.config, "rms_norm_eps": 0.5}))
    metadata = recipes.converted(folder, "f16", CASE.pre).metadata
    assert metadata["olmoe.attention.layer_norm_rms_epsilon"] == encode_value("f32", 1e-5)
    assert decode_value(metadata["olmoe.feed_forward_length"]) == 32


def test_fewer_heads_of_keys_have_no_such_norms(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.k_norm.weight"
    folder = zoo.write(tmp_path / "m", replace(CASE, shapes={**CASE.shapes, name: (32,)}))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=CASE.pre)
    (error,) = conversion.faults()
    assert list(error.facts) == [(name, "expected [64] (hidden_size), got [32]")]
