"""GraniteMoe: its experts' gate and up out of one tensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo

SHARED = zoo.cases("granitemoe")["shared experts"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "granitemoeshared"})
    assert (full["num_local_experts"], full["num_experts_per_tok"], full["shared_intermediate_size"]) == (8, 2, 0)
    assert "shared_intermediate_size" not in complete({"model_type": "granitemoe"})


def test_gate_is_the_first_half(tmp_path: Path) -> None:
    recipe = recipes.converted(zoo.write(tmp_path, SHARED))
    found = {entry.name.removeprefix("blk.0."): entry for entry in recipe.tensors}
    parts = {name: found[name].expression.parameters for name in found if name.startswith(("ffn_gate_", "ffn_up_"))}
    assert parts == {
        "ffn_gate_exps.weight": (1, 0, 96, 1),
        "ffn_up_exps.weight": (1, 96, 192, 1),
        "ffn_gate_shexp.weight": (0, 0, 32, 1),
        "ffn_up_shexp.weight": (0, 32, 64, 1),
        "ffn_gate_inp.weight": (),
    }
    assert found["ffn_gate_exps.weight"].shape == (4, 96, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intermediate_size": 95}, "input_linear.weight' expects 190 rows"),
        ({"shared_intermediate_size": 64}, "shared_mlp.input_linear.weight' expects 128 rows"),
        ({"shared_intermediate_size": 0}, "'shared_intermediate_size' expects a whole number of at least 1"),
        ({"num_local_experts": 0}, "'num_local_experts' expects a whole number of at least 1"),
        ({"shared_intermediate_size": "x"}, "'shared_intermediate_size' expects a whole number"),
    ],
)
def test_a_configuration_of_another_checkpoint_is_an_error(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = zoo.write(tmp_path, replace(SHARED, config={**SHARED.config, **changes}))
    with pytest.raises(Error, match=message):
        recipes.converted(folder)
