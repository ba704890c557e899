"""RoBERTa: positions that begin after that of padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from tests import recipes, zoo

from .encoders import changed, faults, metadata

MEAN = zoo.cases("roberta")["mean"]


def positions(folder: Path, case: zoo.Case) -> tuple[int, int]:
    recipe = recipes.converted(zoo.write(folder, case), pre=case.pre)
    rows = next(entry.shape[0] for entry in recipe.tensors if entry.name == "position_embd.weight")
    return rows, metadata(folder, case)["bert.context_length"]


@pytest.mark.parametrize(("pad", "expected"), [(1, 64), (0, 65), (..., 64), (None, 66), (5, 60)])
def test_positions_before_the_first_token_go(pad: Any, expected: int, tmp_path: Path) -> None:
    assert positions(tmp_path, changed(MEAN, {"pad_token_id": pad})) == (expected, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pad_token_id": 65}, "'max_position_embeddings' expects more than 66"),
        ({"pad_token_id": -1}, "'pad_token_id' expects the id of a token"),
        ({"pad_token_id": "1"}, "'pad_token_id' expects the id of a token"),
        ({"max_position_embeddings": None}, "'max_position_embeddings' expects a whole number"),
    ],
)
def test_positions_that_cannot_be_are_errors(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        faults(tmp_path, changed(MEAN, changes))


def test_a_shorter_table_than_config_json_says_is_told(tmp_path: Path) -> None:
    assert "position_embeddings.weight" in faults(tmp_path, changed(MEAN, {"max_position_embeddings": 70}))


def test_word_pieces_are_none(tmp_path: Path) -> None:
    from dataclasses import replace

    assert "expected byte pairs" in faults(tmp_path, replace(MEAN, tokenizer="word pieces"))
