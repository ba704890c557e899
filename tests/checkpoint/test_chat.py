"""Where weights keep their chat template, and which tokens it may name."""

from __future__ import annotations

import json

import pytest

from modelbuild.checkpoint.chat import Chat, answers, embeds, gguf_talks, of_checkpoint, of_gguf
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value


def checkpoint(**files: object) -> Checkpoint:
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in files.items()}
    data = {name.replace("__", "."): text.encode() for name, text in texts.items()}
    return Checkpoint(data.get)


def test_tokens_of_a_checkpoint_are_texts_or_objects() -> None:
    config = {"chat_template": "T", "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False}}
    assert of_checkpoint(checkpoint(tokenizer_config__json=config)) == Chat("T", "tokenizer_config.json", "<s>", "</s>")
    config = {"chat_template": "T", "bos_token": None, "eos_token": {"content": 5}}
    assert of_checkpoint(checkpoint(tokenizer_config__json=config)) == Chat("T", "tokenizer_config.json")


def test_files_are_looked_at_in_the_converters_order() -> None:
    config, jinja, other = {"chat_template": "A"}, "B\r\n", {"chat_template": "C"}
    files = {"tokenizer_config__json": config, "chat_template__jinja": jinja, "chat_template__json": other}
    found = []
    for name in list(files):
        found.append(of_checkpoint(checkpoint(**files)))
        del files[name]
    assert [chat.template for chat in found if chat] == ["A", "B\n", "C"]
    assert of_checkpoint(checkpoint()) is None


@pytest.mark.parametrize("text", ["[", "[]", "\ud800"])
def test_files_that_cannot_be_read_are_an_error(text: str) -> None:
    with pytest.raises(Error):
        of_checkpoint(Checkpoint({"tokenizer_config.json": text.encode("utf-8", "surrogatepass")}.get))


def head(**values: bytes) -> dict[str, bytes]:
    names = {
        "template": "tokenizer.chat_template",
        "bos": "tokenizer.ggml.bos_token_id",
        "eos": "tokenizer.ggml.eos_token_id",
    }
    return {names.get(name, "tokenizer.ggml.tokens"): value for name, value in values.items()}


TOKENS = encode_value("[str]", ["a", "<s>", "ü", ""])


def test_tokens_of_a_gguf_file_are_looked_up_where_the_template_names_them() -> None:
    text = encode_value("str", "{{ bos_token }}{{ eos_token }}")
    values = head(template=text, bos=encode_value("u32", 1), eos=encode_value("u32", 2), tokens=TOKENS)
    assert of_gguf(values, "x") == Chat("{{ bos_token }}{{ eos_token }}", "x", "<s>", "ü")
    values = head(template=encode_value("str", "T"), bos=encode_value("u32", 1), tokens=TOKENS)
    assert of_gguf(values, "x") == Chat("T", "x")


@pytest.mark.parametrize(
    ("bos", "tokens"),
    [
        (encode_value("u32", 4), TOKENS),
        (encode_value("i32", -1), TOKENS),
        (encode_value("str", "x"), TOKENS),
        (encode_value("[u32]", [1]), TOKENS),
        (encode_value("bool", True), TOKENS),
        (encode_value("u32", 0), encode_value("[i32]", [1, 2])),
        (encode_value("u32", 0), encode_value("str", "a text of some length")),
        (encode_value("u32", 0), encode_value("[str]", [])),
    ],
)
def test_tokens_that_are_not_there_are_not_known(bos: bytes, tokens: bytes) -> None:
    assert of_gguf(head(template=encode_value("str", "bos_token"), bos=bos, tokens=tokens), "x") == Chat(
        "bos_token", "x"
    )


def test_template_of_another_type_is_none() -> None:
    assert of_gguf(head(template=encode_value("u32", 5)), "x") is None
    assert of_gguf(head(template=encode_value("[str]", ["a"])), "x") is None
    assert of_gguf(head(template=encode_value("str", "")), "x") is None


def test_halves_of_characters_are_no_text() -> None:
    assert of_checkpoint(Checkpoint({"tokenizer_config.json": b'{"chat_template": "T\\ud800"}'}.get)) is None
    data = b'{"chat_template": "T", "bos_token": "\\udfff", "eos_token": "", "x": 1}'
    assert of_checkpoint(Checkpoint({"tokenizer_config.json": data}.get)) == Chat("T", "tokenizer_config.json")


def gguf(architecture: str, **values: bytes) -> dict[str, bytes]:
    found = {f"{architecture}.{key.replace('__', '.')}": value for key, value in values.items()}
    return {"general.architecture": encode_value("str", architecture), **found}


@pytest.mark.parametrize(
    ("metadata", "tensors", "expected"),
    [
        (gguf("llama"), ["output.weight"], "text"),
        (gguf("qwen3"), ["cls.output.weight"], "text"),
        (gguf("qwen3", pooling_type=encode_value("u32", 3)), [], "embeddings"),
        (gguf("qwen3", pooling_type=encode_value("u32", 4)), ["cls.output.weight"], "scores"),
        (gguf("bert", pooling_type=encode_value("u32", 1)), ["cls.weight"], "embeddings"),
        (gguf("bert", attention__causal=encode_value("bool", False)), ["token_embd.weight"], "embeddings"),
        (gguf("bert"), ["cls.weight", "cls.output.weight"], "scores"),
        (gguf("lfm2", attention__causal=encode_value("bool", False)), [], "embeddings"),
        (gguf("gemma-embedding"), ["token_embd.weight"], "embeddings"),
        (gguf("gemma3"), ["token_embd.weight"], "text"),
        ({}, [], "text"),
    ],
)
def test_what_a_gguf_file_makes_of_a_text(metadata: dict[str, bytes], tensors: list[str], expected: str) -> None:
    assert answers(metadata, tensors) == expected
    assert embeds(metadata) == (expected != "text")
    assert gguf_talks(metadata, "a-chat") == (expected == "text")
