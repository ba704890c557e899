"""Which package reads checkpoints of a class, and classes that a project names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.errors import Errors

from .test_plan import CHECKPOINT, graph


def architecture(tmp_path: Path, said: str) -> object:
    made = graph(tmp_path, f'[model.a]\nfrom = "./weights"\narchitecture = "{said}"\n', CHECKPOINT)
    return json.loads(made.steps["a/convert"].parameters).get("architecture")


def test_a_class_of_ours(tmp_path: Path) -> None:
    assert architecture(tmp_path / "a", "Qwen3Model") == "Qwen3Model"
    assert architecture(tmp_path / "b", "") is None


def test_a_class_of_nobody(tmp_path: Path) -> None:
    with pytest.raises(Errors) as caught:
        architecture(tmp_path / "a", "MistralModel")
    (error,) = caught.value.errors
    assert (error.what, error.hint) == (
        "model 'a': architecture 'MistralModel' is not supported yet", "did you mean 'MistralForCausalLM'?",
    )  # fmt: skip
    with pytest.raises(Errors) as caught:
        architecture(tmp_path / "b", "Nothing")
    (error,) = caught.value.errors
    assert "LlamaForCausalLM" in dict(error.facts)["known"]
