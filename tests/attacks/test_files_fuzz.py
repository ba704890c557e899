"""Whatever tokenizer.json and README.md hold, the answer is a recipe or an error that can be rendered, soon."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.at_length import examples

from .fuzz import WAYS, Converter


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Converter:
    return Converter(tmp_path_factory.mktemp("fuzz") / "m")


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=examples(40), deadline=None)
@given(random=st.randoms(use_true_random=False), pre=st.sampled_from((None, "llama-bpe")))
def test_files_at_random(converter: Converter, way: str, random: Random, pre: str | None) -> None:
    converter.convert(WAYS[way](random), pre=pre)


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("way", WAYS)
def test_many_files_at_random(tmp_path: Path, way: str, seed: int) -> None:
    converter = Converter(tmp_path / "m")
    for number in range(300):
        random = Random(seed << 32 | number)
        converter.convert(WAYS[way](random), pre=random.choice((None, "llama-bpe")))
