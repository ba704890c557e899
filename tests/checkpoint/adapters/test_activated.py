"""Adapters that tokens of the prompt switch on: by their numbers, or by a text that a tokenizer makes tokens of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from modelbuild.checkpoint.adapters.files import TOKENIZER
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import adapters
from tests.tensors.formats import golden

from .test_layer import base, layer
from .test_merged import merged

TEXT = "<|im_start|>the other check_requirement"


def activated(folder: Path, tokenizer: bool = True, **config: Any) -> tuple[Path, Any]:
    model, case = base(folder / "model", "qwen2", "tied")
    lora = adapters.write_peft(folder / "lora", adapters.factors(case.shapes, r".*q_proj"), **config)
    if tokenizer:
        shutil.copy(folder / "model" / TOKENIZER, lora / TOKENIZER)
    return lora, model


def invocation(lora: Path, model: Any) -> Any:
    return decode_value(layer(lora, model)[0].metadata["adapter.alora.invocation_tokens"])


def test_numbers_are_passed_on(tmp_path: Path) -> None:
    assert invocation(*activated(tmp_path, alora_invocation_tokens=[7, 9], invocation_string="x")) == [7, 9]


def test_a_text_becomes_its_tokens_but_the_first(tmp_path: Path) -> None:
    lora, model = activated(tmp_path, invocation_string=TEXT)
    expected = Tokenizer.from_file(str(lora / TOKENIZER)).encode(TEXT).ids
    assert invocation(lora, model) == expected[1:] != []


LIES: dict[str, dict[str, Any]] = {
    "no-tokenizer": {"invocation_string": TEXT, "tokenizer": False},
    "one-token": {"invocation_string": "a"},
    "no-text": {"invocation_string": ["a"]},
    "beyond": {"alora_invocation_tokens": [3, 1 << 20]},
}


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, tmp_path: Path) -> None:
    lora, model = activated(tmp_path, **LIES[lie])
    golden.check(f"activated-{lie}", golden.complaint(lambda: layer(lora, model)))


def test_every_golden_has_its_case() -> None:
    assert golden.unused("activated-", {f"activated-{lie}" for lie in (*LIES, "merged")}) == set()


def test_it_is_not_merged(tmp_path: Path) -> None:
    lora, model = activated(tmp_path, invocation_string=TEXT)
    golden.check("activated-merged", golden.complaint(lambda: merged(lora, model)))


def test_a_damaged_tokenizer_is_an_error(tmp_path: Path) -> None:
    lora, model = activated(tmp_path, invocation_string=TEXT)
    (lora / TOKENIZER).write_text('{"model": 3}')
    with pytest.raises(Error, match="expected a 'model' with a 'vocab'"):
        layer(lora, model)
