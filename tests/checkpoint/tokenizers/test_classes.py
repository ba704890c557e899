"""The classes of tokenizers: what each has by itself."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint.tokenizers.classes import ADDS_BOS, CLASS_OF_MODEL, CLASSES, MORE_SPECIAL, SPECIAL
from modelbuild.checkpoint.tokenizers.fast import Added

from .folders import folder, tiny


def test_every_table_names_known_classes_and_kinds() -> None:
    assert CLASSES.keys() >= {*ADDS_BOS, *MORE_SPECIAL, *CLASS_OF_MODEL.values()}
    assert all(tokens.keys() <= set(SPECIAL) for tokens in CLASSES.values())
    assert all(Added.of(token, "").content for tokens in CLASSES.values() for token in tokens.values())


@pytest.mark.parametrize(
    ("model_type", "special"),
    [
        ("bert", ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]")),
        ("distilbert", ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]")),
        ("roberta", ("<s>", "</s>", "<unk>", "<pad>", "<mask>")),
        ("xlm-roberta", ("<s>", "</s>", "<unk>", "<pad>", "<mask>")),
    ],
)
def test_a_model_without_a_named_class_gets_that_of_its_type(model_type: str, special: tuple[str, ...]) -> None:
    from modelbuild.checkpoint.tokenizers.fast import FastTokenizer

    loaded = FastTokenizer(folder(config_dot_json={"model_type": model_type}, tokenizer_dot_json=tiny()))
    assert loaded.special == special
    assert [token.lstrip for token in loaded.added.values() if token.content == "<mask>"] == [True] * (
        "<mask>" in special
    )
