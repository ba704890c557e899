"""Nomic's encoders: what the runtime knows of them, and experts out of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from tests import recipes, zoo

from .encoders import changed, conversion, faults, metadata

GATES = zoo.cases("nomic_bert")["gates"]
EXPERTS = zoo.cases("nomic_bert_moe")["experts"]


def test_texts_are_as_long_as_in_the_training(tmp_path: Path) -> None:
    assert metadata(tmp_path / "a", GATES)["nomic-bert.context_length"] == 2048
    found = metadata(tmp_path / "b", EXPERTS)
    assert found["nomic-bert-moe.context_length"] == 512
    assert (found["nomic-bert-moe.moe_every_n_layers"], found["nomic-bert-moe.expert_used_count"]) == (2, 2)


def test_experts_stand_in_rows_and_the_second_part_is_turned(tmp_path: Path) -> None:
    found = {entry.name: entry.expression for entry in recipes.converted(zoo.write(tmp_path, EXPERTS)).tensors}
    assert found["blk.1.ffn_up_exps.weight"].shape == (4, 96, 64)
    assert found["blk.1.ffn_down_exps.weight"].shape == (4, 64, 96)
    assert "blk.0.ffn_up_exps.weight" not in found and "blk.1.ffn_up.weight" not in found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"causal": True}, "'causal' expects false, got true"),
        ({"activation_function": "gelu"}, "'activation_function' expects the text \"swiglu\""),
        ({"rotary_emb_fraction": 0.5}, "'rotary_emb_fraction' expects the number 1.0, got the number 0.5"),
        ({"rotary_emb_scale_base": ...}, "'rotary_emb_scale_base' expects null, which is missing"),
        ({"qkv_proj_bias": True}, "'qkv_proj_bias' expects false"),
        ({"n_positions": 4096}, "'n_positions' expects 8192 or 2048, got the number 4096"),
        ({"max_trained_positions": 512}, "'max_trained_positions' expects 2048, got the number 512"),
        ({"n_head": None}, "'n_head' expects a number above 0, got null"),
        ({"n_layer": 0}, "'n_layer' expects a whole number of at least 1"),
    ],
)
def test_other_models_of_the_class_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in faults(tmp_path, changed(GATES, changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_experts": 3}, "does not have the shape that config.json declares"),
        ({"num_experts": 1 << 20}, "does not have the shape that config.json declares"),
        ({"moe_top_k": 5}, "num_experts_per_tok"),
        ({"moe_top_k": 0}, "'moe_top_k' expects a whole number of at least 1"),
        ({"moe_every_n_layers": -1}, "'moe_every_n_layers' expects a whole number of at least 1"),
    ],
)
def test_experts_that_cannot_be_are_errors(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    try:
        found = faults(tmp_path, changed(EXPERTS, changes))
    except Error as error:
        found = str(error)
    assert message in found


def test_nothing_is_worth_a_look(tmp_path: Path) -> None:
    assert conversion(tmp_path / "a", GATES).warnings() == conversion(tmp_path / "b", EXPERTS).warnings() == []
