"""The base that an adapter names and the model that it is given are told apart by their own names alone."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.checkpoint.adapters.naming import doubts
from modelbuild.tensors.formats.gguf import encode_value


def warned(base: str, name: str, organization: str = "") -> list[str]:
    said = {"general.name": name, "general.organization": organization}
    metadata = {key: encode_value("str", value) for key, value in said.items() if value}
    return [error.what for error in doubts(Adapter({}, base=base), metadata)]


@pytest.mark.parametrize(
    ("task", "count"), [("SEQ_CLS", 1), ("token_cls", 1), ("CAUSAL_LM", 0), ("FEATURE_EXTRACTION", 0), ("", 0)]
)
def test_a_head_that_a_model_of_text_lacks_is_told(task: str, count: int) -> None:
    assert len(doubts(Adapter({}, task=task), {})) == count


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", "Llama 3.2 1B Instruct"),
        ("unsloth/llama-3.2-1b-instruct-bnb-4bit", "Llama 3.2 1B Instruct"),
        ("unsloth/llama-3.2-1b-instruct-unsloth-bnb-4bit", "Llama-3.2-1B-Instruct"),
        ("unsloth/Meta-Llama-3.1-8B", "Llama 3.1 8B"),
        ("mlx-community/Qwen2.5-7B-4bit", "Qwen2.5 7B"),
        ("/home/me/models/mistral-7B-v0.3/", "Mistral 7B v0.3"),
        ("", "Llama 3.2 1B Instruct"),
        ("meta-llama/Llama-3.2-1B", "weights"),
    ],
)
def test_the_same_or_unsaid(base: str, name: str) -> None:
    assert warned(base, name) == []


@pytest.mark.parametrize(
    ("base", "name", "organization"),
    [
        ("meta-llama/Llama-3.2-1B", "Llama 3.2 1B Instruct", ""),
        ("meta-llama/Llama-3.2-1B", "Llama 3.2 3B", ""),
        ("acme/tales", "Poems", "Acme"),
    ],
)
def test_another_is_told(base: str, name: str, organization: str) -> None:
    assert warned(base, name, organization) == [f"the adapter was trained on '{base}', and the model is '{name}'"]
