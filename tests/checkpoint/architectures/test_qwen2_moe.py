"""Qwen2 with experts: what transformers fills in, and what the runtime needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from tests import recipes, zoo


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "qwen2_moe"}),
        {
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "shared_expert_intermediate_size": 5632,
            "num_key_value_heads": 16,
        },
    )
    assert {key: full[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        ("lm_head.weight", "lacks 'lm_head.weight', which llama.cpp's runtime needs of a model of qwen2moe"),
        ("model.layers.1.mlp.shared_expert_gate.weight", "lacks 1 tensor that this architecture has"),
        (
            "model.layers.0.mlp.experts.3.up_proj.weight",
            "block 0 lacks tensors of its experts: expert 3 has no 'up_proj'",
        ),
    ],
)
def test_tensors_that_are_needed(gone: str, what: str, tmp_path: Path) -> None:
    case = zoo.cases("qwen2_moe")["four experts"]
    shapes = {name: shape for name, shape in case.shapes.items() if name != gone}
    folder = zoo.write(tmp_path / "m", replace(case, shapes=shapes))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=case.pre)
    assert any(what in error.what for error in conversion.faults())
