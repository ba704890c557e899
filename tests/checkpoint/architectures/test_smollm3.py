"""SmolLM3: what transformers fills in, and rotations that the runtime does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo
from tests.zoo.mistral import LLAMA3


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "smollm3"}),
        {"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 2e6, "vocab_size": 128256},
    )
    assert {key: full[key] for key in wanted} == wanted


def test_rotations_that_the_runtime_does_not_know(tmp_path: Path) -> None:
    case = zoo.cases("smollm3")["tied"]
    with pytest.raises(Error, match="knows no llama3 rope scaling for SmolLM3"):
        recipes.converted(zoo.write(tmp_path / "m", replace(case, config={**case.config, "rope_scaling": LLAMA3})))
