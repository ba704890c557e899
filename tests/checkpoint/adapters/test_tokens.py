"""Tokens that come with an adapter stand over the model's: rows, tokens and metadata agree, or it is an error with both numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelbuild.checkpoint.tokenizers.vocabulary import tokens_in
from modelbuild.errors import Error
from modelbuild.steps import merge
from modelbuild.tensors.formats.gguf import decode_value
from tests import adapters
from tests.checkpoints import pieces

from .test_layer import base
from .test_merged import merged, put

FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json")


def saved(folder: Path, rows: int, *names: str, hidden: int = 64) -> Path:
    """An adapter that brings whole matrices of so many rows."""
    more = put(**{name.replace(".", "__"): adapters.matrix(name, rows, hidden) for name in names})
    return adapters.write_peft(folder, {}, more=more)


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gemma", "phi3", "gemma3_text"])
def test_the_same_tokenizer_changes_nothing(model_type: str, tmp_path: Path) -> None:
    from tests import zoo

    model, case = base(tmp_path / "model", model_type, next(iter(zoo.cases(model_type))))
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes))
    for name in FILES:
        if (tmp_path / "model" / name).is_file():
            shutil.copy(tmp_path / "model" / name, lora / name)
    assert list(merged(lora, model).metadata.items()) == list(model.metadata.items())


@pytest.mark.parametrize("tied", [True, False])
def test_a_grown_vocabulary(tied: bool, tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", "llama", "f16, tied" if tied else "bf16")
    names = ["model.embed_tokens.weight"] + ["lm_head.weight"] * (not tied)
    lora = saved(tmp_path / "lora", 330, *names)
    (lora / "tokenizer.model").write_bytes(pieces(330))
    found = merged(lora, model)
    shapes = {
        entry.name: entry.shape for entry in found.tensors if entry.name in ("token_embd.weight", "output.weight")
    }
    assert set(shapes.values()) == {(330, 64)} and len(shapes) == 2 - tied
    assert tokens_in(found.metadata) == 330
    assert decode_value(found.metadata["llama.vocab_size"]) == 330
    assert [entry.name for entry in found.tensors] == [entry.name for entry in model.tensors]
    assert {entry.expression.dtype for entry in found.tensors} == {entry.expression.dtype for entry in model.tensors}


OUTPUT, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def grown(folder: Path, tensors: dict[str, str]) -> Path:
    """An adapter of a vocabulary that has grown: matrices of 330 rows by their names, each with what its values follow from."""
    more = put(**{name.replace(".", "__"): adapters.matrix(said, 330, 64) for name, said in tensors.items()})
    lora = adapters.write_peft(folder, {}, more=more)
    (lora / "tokenizer.model").write_bytes(pieces(330))
    return lora


@pytest.mark.parametrize("backwards", [False, True])
def test_names_that_are_saved_beside_each_other(backwards: bool, tmp_path: Path) -> None:
    """save_pretrained writes a saved module's wrapper too where the vocabulary has grown: its own name counts, as in PEFT."""
    model, _ = base(tmp_path / "model")
    wanted = grown(tmp_path / "plain", {EMBEDDING: "e", OUTPUT: "o"})
    names = {EMBEDDING: "e", OUTPUT: "o"}
    for name, said in list(names.items()):
        module = name.removesuffix(".weight")
        names[f"{module}.modules_to_save.weight"] = said
        names[f"{module}.original_module.weight"] = f"before {said}"
    names = dict(reversed(names.items())) if backwards else names
    found = merged(grown(tmp_path / "lora", names), model)
    assert found.tensors == merged(wanted, model).tensors
    assert len(found.tensors) == len(model.tensors)


def test_an_original_beside_nothing_has_no_place(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model")
    lora = grown(tmp_path / "lora", {"lm_head.original_module.weight": "o", EMBEDDING: "e"})
    with pytest.raises(Error, match="the adapter changes 1 tensor that the model does not have"):
        merged(lora, model)


@pytest.mark.parametrize("named", [False, True])
def test_an_output_that_is_the_embedding_again(named: bool, tmp_path: Path) -> None:
    """Of a tied model PEFT saves both, and the indices of its tokens by the embedding's name alone."""
    model, _ = base(tmp_path / "model", "llama", "f16, tied")
    wanted = grown(tmp_path / "plain", {EMBEDDING: "e"})
    both = grown(tmp_path / "both", {OUTPUT: "e", EMBEDDING: "e"})
    assert merged(both, model).tensors == merged(wanted, model).tensors
    rows = adapters.matrix("r", 2, 64)
    tensors = {}
    for module in ("lm_head", "model.embed_tokens"):
        tensors[f"{module}.token_adapter.base_layer.weight"] = adapters.matrix("e", 330, 64)
        tensors[f"{module}.token_adapter.trainable_tokens_delta"] = rows
    indices = {"embed_tokens": [7, 329]} if named else [7, 329]
    more = put(**{name.replace(".", "__"): x for name, x in tensors.items()})
    lora = adapters.write_peft(tmp_path / "rows", {}, more=more, trainable_token_indices=indices)
    (lora / "tokenizer.model").write_bytes(pieces(330))
    found = merged(lora, model)
    assert [entry.name for entry in found.tensors] == [entry.name for entry in model.tensors]
    changed = [e.name for e, old in zip(found.tensors, model.tensors, strict=True) if e != old]
    assert changed == ["token_embd.weight"]


def test_another_output_of_a_tied_model_is_one_of_its_own(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", "llama", "f16, tied")
    found = merged(grown(tmp_path / "lora", {OUTPUT: "o", EMBEDDING: "e"}), model)
    assert len(found.tensors) == len(model.tensors) + 1


def test_other_tokens_in_as_many_rows(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes))
    (lora / "tokenizer.model").write_bytes(pieces(300))
    found = merged(lora, model)
    assert tokens_in(found.metadata) == 320
    assert found.metadata["tokenizer.ggml.tokens"] != model.metadata["tokenizer.ggml.tokens"]


@pytest.mark.parametrize("file", ["tokenizer_config.json", "chat_template.jinja"])
def test_a_chat_template_alone(file: str, tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes))
    (lora / file).write_text(json.dumps({"chat_template": "{{ x }}"}) if file.endswith(".json") else "{{ x }}")
    found = merged(lora, model).metadata
    assert decode_value(found["tokenizer.chat_template"]) == "{{ x }}"
    assert {key: value for key, value in found.items() if key != "tokenizer.chat_template"} == {
        key: value for key, value in model.metadata.items() if key != "tokenizer.chat_template"
    }


def test_rows_without_their_tokens(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", "llama", "f16, tied")
    lora = saved(tmp_path / "lora", 330, "model.embed_tokens.weight")
    with pytest.raises(Error, match="an embedding of 330 rows, and the tokenizer has 320 tokens"):
        merged(lora, model)


def test_an_output_without_the_new_tokens(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model")
    lora = saved(tmp_path / "lora", 330, "model.embed_tokens.weight")
    (lora / "tokenizer.model").write_bytes(pieces(330))
    with pytest.raises(Error, match="the model's output has none for them"):
        merged(lora, model)


def test_a_tokenizer_that_is_not_read_is_told(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes))
    (lora / "tokenizer.json").write_text("{")
    looked = merge.look({"scale": 1.0}, adapters.Files(lora, model))
    assert looked.recipe.metadata == model.metadata
    assert ["the adapter's tokenizer is not taken, but the model's" in error.what for error in looked.warnings] == [
        True
    ]
