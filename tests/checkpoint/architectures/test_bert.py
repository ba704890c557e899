"""BERT: pooling, labels, what its file leaves out, and configurations that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.architectures.bert import Bert
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from tests import recipes, zoo
from tests.zoo import bert
from tests.zoo._encoders import linear

from .encoders import changed, conversion, faults, metadata

CLS = zoo.cases("bert")["cls"]
THREE = zoo.cases("bert")["three labels, rows of 48"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "bert"})
    assert (full["vocab_size"], full["type_vocab_size"], full["layer_norm_eps"]) == (30522, 2, 1e-12)
    assert full["id2label"] == {0: "LABEL_0", 1: "LABEL_1"}
    assert complete({"model_type": "bert", "num_labels": 1})["id2label"] == {0: "LABEL_0"}


def test_pooling_and_attention(tmp_path: Path) -> None:
    found = metadata(tmp_path, CLS)
    assert (found["bert.pooling_type"], found["bert.attention.causal"]) == (2, False)
    assert "bert.classifier.output_labels" not in found


def test_labels_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert metadata(tmp_path, THREE)["bert.classifier.output_labels"] == ["no", "ja, \u00e7a", "maybe"]


def test_embeddings_of_positions_and_segments_stay_floats(tmp_path: Path) -> None:
    recipe = recipes.converted(zoo.write(tmp_path, CLS), "q8_0", CLS.pre)
    found = {entry.name: entry.expression.dtype for entry in recipe.tensors}
    assert found["position_embd.weight"] == found["token_types.weight"] == "f32"
    assert found["token_embd.weight"] == "q8_0"
    assert not any("pool" in name or "ids" in name for name in found)


def test_two_labels_without_names_are_an_error(tmp_path: Path) -> None:
    two = bert.case({"architectures": ["BertForSequenceClassification"]}, linear("classifier", 2, 64))
    with pytest.raises(Error, match="two labels have no names"):
        recipes.converted(zoo.write(tmp_path / "a", two), pre=two.pre)
    named = changed(two, {"id2label": {"0": "no", "1": "yes"}})
    assert metadata(tmp_path / "b", named)["bert.classifier.output_labels"] == ["no", "yes"]


def test_what_is_worth_a_look(tmp_path: Path) -> None:
    assert conversion(tmp_path / "a", CLS).warnings() == []
    (warning,) = conversion(tmp_path / "d", changed(CLS, {"hidden_act": "relu"})).warnings()
    assert 'activation is the text "relu"' in warning.what
    (warning,) = conversion(tmp_path / "b", THREE).warnings()
    assert "computes another head" in str(warning)
    (warning,) = conversion(tmp_path / "c", bert.case()).warnings()
    assert warning.path == "modules.json" and "pooling" in warning.what
    config = {key: value for key, value in bert.case().config.items() if key != "architectures"}
    (warning,) = Bert(Checkpoint({"config.json": json.dumps(config).encode()}.get)).doubts()
    assert warning.path == "modules.json", "the project names the class"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 0}, "hidden_size"),
        ({"max_position_embeddings": 65}, r"position_embeddings.weight: expected \[65, 64\]|position_embeddings.weight"),
        ({"type_vocab_size": 3}, "token_type_embeddings.weight"),
        ({"type_vocab_size": 0}, "'type_vocab_size' expects a whole number of at least 1"),
        ({"type_vocab_size": "2"}, "'type_vocab_size' expects a whole number of at least 1"),
        ({"layer_norm_eps": float("nan")}, "'layer_norm_eps' expects a finite number"),
        ({"layer_norm_eps": None}, "'layer_norm_eps' expects a number above 0, got null"),
        ({"num_hidden_layers": 1 << 40}, "'num_hidden_layers' expects a whole number"),
        ({"num_hidden_layers": 3}, "lacks 1 of the 3 blocks"),
        ({"num_attention_heads": None}, "'num_attention_heads' expects a number above 0"),
        ({"intermediate_size": 95}, "intermediate.dense.weight"),
        ({"vocab_size": 1 << 30}, "'vocab_size' expects a whole number"),
        ({"vocab_size": 150}, "150"),
        ({"id2label": ["a"]}, "'id2label' expects an object of numbers and names"),
        ({"id2label": {"x": "a"}}, "'id2label' expects an object of numbers and names"),
        ({"id2label": {"0": 1}}, "'id2label' expects names"),
        ({"num_labels": 1 << 40}, "'num_labels' expects a number up to"),
        ({"num_labels": "x"}, "'num_labels' expects a number up to"),
        ({"classifier_pooling": "max"}, "'classifier_pooling' expects one of cls, mean"),
        ({"classifier_pooling": ["max"]}, "'classifier_pooling' expects one of cls, mean"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_are_errors(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    case = changed(CLS, changes)
    try:
        found = faults(tmp_path, case)
    except Error as error:
        found = str(error)
    import re

    assert re.search(message, found), found


@pytest.mark.parametrize(
    "name", ["embeddings.token_type_embeddings.weight", "encoder.layer.1.attention.output.LayerNorm.bias"]
)
def test_a_tensor_that_is_missing_is_told(name: str, tmp_path: Path) -> None:
    from dataclasses import replace

    case = replace(CLS, shapes={key: shape for key, shape in CLS.shapes.items() if key != name})
    assert bool(faults(tmp_path, case)) == ("token_type" not in name)


def test_a_pooling_that_llama_cpp_does_not_know_is_an_error(tmp_path: Path) -> None:
    from dataclasses import replace

    modes = {"1_Pooling/config.json": json.dumps({"pooling_mode_max_tokens": True})}
    assert "does not know this pooling" in faults(tmp_path, replace(CLS, files={**CLS.files, **modes}))
