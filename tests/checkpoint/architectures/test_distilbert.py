"""DistilBERT: keys of its own, which may be told by the names of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo
from tests.zoo import distilbert
from tests.zoo._encoders import linear

from .encoders import metadata


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "distilbert", "hidden_size": 64, "num_hidden_layers": 3})
    assert (full["dim"], full["n_layers"], full["n_heads"], full["hidden_dim"]) == (64, 3, 12, 3072)
    assert "type_vocab_size" not in full


def test_epsilon_and_segments(tmp_path: Path) -> None:
    found = metadata(tmp_path, zoo.cases("distilbert")["mean"])
    assert found["bert.attention.layer_norm_epsilon"] == pytest.approx(1e-12)
    assert (found["tokenizer.ggml.token_type_count"], found["bert.pooling_type"]) == (1, 1)
    assert (found["bert.embedding_length"], found["bert.feed_forward_length"], found["bert.block_count"]) == (64, 96, 2)


def test_both_layers_of_a_classifier_need_names_of_labels(tmp_path: Path) -> None:
    head = {**linear("pre_classifier", 64, 64), **linear("classifier", 2, 64)}
    case = distilbert.case({"architectures": ["DistilBertForSequenceClassification"]}, head)
    with pytest.raises(Error, match="two labels have no names"):
        recipes.converted(zoo.write(tmp_path, case), pre=case.pre)
